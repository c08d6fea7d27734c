"""What happens to a batch on its device: the views of an evaluation, the augmentation of training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from cvr_lightning.clip import CompressedClip
from cvr_lightning.codec.arrays import BLOCK
from cvr_lightning.datamodules.mixing import cutmix, drop_modality, mixup
from cvr_lightning.datamodules.sampling import ClipSampling, crop_corners
from cvr_lightning.datamodules.transforms import (
    colour,
    crop,
    flip,
    frame_size,
    resize,
    spread_crops,
    spread_mirrored,
)


@dataclass(frozen=True)
class EvalTransform:
    """The spatial views of each clip, cut on the 8-pixel grid at native scale.

    B clips become B x ``crops``, so a video is read once for all of its crops.

    Attributes:
        sampling: Side and number of the crops.
    """

    sampling: ClipSampling

    def __call__(self, clip: CompressedClip) -> CompressedClip:
        """Crop the batch; an empty batch passes through."""
        if not len(clip):
            return clip
        side, crops = self.sampling.crop, self.sampling.crops
        clip = spread_crops(clip, crop_corners(frame_size(clip.iframes), side, crops), side)
        return spread_mirrored(clip, self.sampling.coefficients) if crops == 10 else clip


@dataclass(frozen=True)
class TrainTransform:
    """Random augmentation of whole clips, each of which has a generator of its own.

    So what becomes of a clip does not depend on the batch or the process that it is in; only mixup and cutmix
    look at its neighbour.

    In this order: a square of a random scale at a random place of the 8-pixel grid, resized where its scale
    is not 1; mirror; colour jitter; mixup or cutmix; the loss of a modality.

    Attributes:
        sampling: Side of the crop, coefficients and modalities.
        num_classes: Number of classes, for the soft targets of mixed clips.
        flip: Mirror half of the clips; only where left and right are not labels.
        colour: Largest relative change of brightness, contrast and saturation, 0 for none.
        scales: Sides of the squares relative to the crop's; each clip draws one.
        mixup: Shape of the Beta distribution of the shares of :func:`mixup`, 0 for none.
        cutmix: The same for :func:`cutmix`; where both are asked for, each batch draws one.
        modality_drop: Chance that a clip loses one of its modalities.

    Raises:
        ValueError: Where a number is out of range.
    """

    sampling: ClipSampling
    num_classes: int
    flip: bool = True
    colour: float = 0.0
    scales: tuple[float, ...] = (1.0,)
    mixup: float = 0.0
    cutmix: float = 0.0
    modality_drop: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.colour < 1:
            raise ValueError(f"colour={self.colour} must lie in [0, 1)")
        for name in ("mixup", "cutmix"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}={getattr(self, name)} must not be negative")
        if not 0 <= self.modality_drop <= 1:
            raise ValueError(f"modality_drop={self.modality_drop} must lie in [0, 1]")
        if self.modality_drop and len(self.sampling.modalities) < 2:
            raise ValueError(f"modality_drop needs two modalities, modalities={self.sampling.modalities}")
        shorter = min(self.sampling.size)
        if not self.sides or min(self.sides) < BLOCK or max(self.sides) > shorter:
            raise ValueError(
                f"scales={self.scales} of crop={self.sampling.crop} must give squares between {BLOCK} pixels "
                f"and the frame's shorter side, {shorter}"
            )

    @property
    def sides(self) -> list[int]:
        """Sides of the squares in pixels, on the 8-pixel grid."""
        return [BLOCK * round(scale * self.sampling.crop / BLOCK) for scale in self.scales]

    def __call__(self, clip: CompressedClip, generators: Sequence[np.random.Generator]) -> CompressedClip:
        """Augment the batch; an empty batch passes through.

        Args:
            clip: The batch of B clips.
            generators: The B generators of their random numbers.
        """
        if not len(clip):
            return clip
        clip = self._random_squares(clip, generators)
        if self.flip:
            (number,) = _uniform(generators, 1)
            clip = flip(clip, number < 0.5, self.sampling.coefficients)
        if self.colour:
            clip = colour(clip, *(1 + self.colour * (2 * _uniform(generators, 3) - 1)).float())
        clip = self._mix(clip, generators)
        if self.modality_drop:
            which, chance = _uniform(generators, 2)
            lost = (which * len(self.sampling.modalities)).long()
            lost[chance >= self.modality_drop] = -1
            clip = drop_modality(clip, lost, self.sampling.modalities)
        return clip

    def _random_squares(
        self, clip: CompressedClip, generators: Sequence[np.random.Generator]
    ) -> CompressedClip:
        """Squares of the crop's size; the clips of one scale are cut and resized together."""
        scale, top, left = _uniform(generators, 3)
        if len(self.sides) == 1:
            return self._square(clip, self.sides[0], top, left)
        index = (scale * len(self.sides)).long()
        rows = [torch.nonzero(index == number)[:, 0] for number in range(len(self.sides))]
        parts = [
            self._square(clip.take(own), side, top[own], left[own])
            for side, own in zip(self.sides, rows, strict=True)
            if len(own)
        ]
        joined = {name: torch.cat([getattr(part, name) for part in parts]) for name, _ in clip.tensors()}
        return clip.with_tensors(**joined).take(torch.cat(rows).argsort())

    def _square(self, clip: CompressedClip, side: int, top: Tensor, left: Tensor) -> CompressedClip:
        """Squares of a side whose places (B,) lie between 0, at one border, and 1, at the other."""
        rows, columns = ((length - side) // BLOCK + 1 for length in frame_size(clip.iframes))
        clip = crop(clip, BLOCK * (rows * top).long(), BLOCK * (columns * left).long(), side)
        size = self.sampling.crop
        return clip if side == size else resize(clip, (size, size))

    def _mix(self, clip: CompressedClip, generators: Sequence[np.random.Generator]) -> CompressedClip:
        if not self.mixup and not self.cutmix:
            return clip
        choice, *centre = _uniform(generators, 3)
        if self.mixup and (not self.cutmix or choice[0] < 0.5):
            return mixup(clip, _beta(generators, self.mixup), self.num_classes)
        return cutmix(clip, _beta(generators, self.cutmix), torch.stack(centre), self.num_classes)


def _uniform(generators: Sequence[np.random.Generator], count: int) -> Tensor:
    """(count, B) numbers in [0, 1): ``count`` from each clip's generator."""
    return torch.from_numpy(np.stack([generator.random(count) for generator in generators], axis=1))


def _beta(generators: Sequence[np.random.Generator], shape: float) -> Tensor:
    """(B,) shares from a symmetric Beta distribution."""
    return torch.tensor([generator.beta(shape, shape) for generator in generators])
