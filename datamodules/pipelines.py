"""Batch transforms on the device: views for evaluation, augmentation for training."""

from __future__ import annotations

import math
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
    adjust_colors,
    crop,
    flip,
    frame_size,
    resize,
    spread_crops,
    spread_mirrored,
)


@dataclass(frozen=True)
class EvalTransform:
    """Cuts the spatial views of each clip, on the 8-pixel grid at native scale.

    B clips become B x ``crops``, so each video is read once for all crops.

    Attributes:
        sampling: Side and number of the crops.
    """

    sampling: ClipSampling

    def __call__(self, clip: CompressedClip) -> CompressedClip:
        """Crop the batch; empty batches are unchanged."""
        if not len(clip):
            return clip
        side, crops = self.sampling.crop, self.sampling.crops
        clip = spread_crops(clip, crop_corners(frame_size(clip.iframes), side, crops), side)
        return spread_mirrored(clip, self.sampling.coefficients) if crops == 10 else clip


@dataclass(frozen=True)
class Augmentation:
    """Random changes of training clips, on the device; not applied in validation and test.

    Attributes:
        flip: Mirror half of the clips. No effect on data sets whose classes tell left from right.
        color_jitter: Largest relative change of the I-frames' brightness, contrast and saturation.
        scale_jitter: Crop sides relative to ``sampling.crop``; each clip draws one and is resized. ``(1.0,)``
            keeps exact slices, ``(1.14, 1, 0.86, 0.75)`` is TSN's scale jitter.
        mixup: Parameter of the Beta distribution for blending two clips; 0 for none.
        cutmix: Parameter of the Beta distribution for pasting a box of another clip; 0 for none. With both,
            each batch draws one.
        modality_dropout: Probability that a clip loses its I-frames, motion or residual.

    Raises:
        ValueError: A number is out of range.
    """

    flip: bool = True
    color_jitter: float = 0.2
    scale_jitter: tuple[float, ...] = (1.0,)
    mixup: float = 0.0
    cutmix: float = 0.0
    modality_dropout: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.color_jitter < 1:
            raise ValueError(f"color_jitter={self.color_jitter} must be in [0, 1)")
        for name in ("mixup", "cutmix"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name}={getattr(self, name)} must be a non-negative number")
        if not 0 <= self.modality_dropout <= 1:
            raise ValueError(f"modality_dropout={self.modality_dropout} must be in [0, 1]")
        if not self.scale_jitter:
            raise ValueError("scale_jitter is empty; (1.0,) crops without resizing")


@dataclass(frozen=True)
class TrainTransform:
    """Random augmentation of whole clips, with a random generator per clip.

    Results do not depend on the batch or process of a clip, except for mixup and cutmix, which use its
    neighbor. The order is: crop of a random scale at a random position of the 8-pixel grid; resizing unless
    its scale is 1; mirroring; color jitter; mixup or cutmix; modality dropout.

    Attributes:
        sampling: Side of the crop, coefficients and modalities.
        augmentation: Kinds and strengths of changes.
        num_classes: Number of classes, for soft targets of mixed clips.

    Raises:
        ValueError: The augmentation does not fit the sampling.
    """

    sampling: ClipSampling
    augmentation: Augmentation
    num_classes: int

    def __post_init__(self) -> None:
        if self.augmentation.modality_dropout and len(self.sampling.modalities) < 2:
            raise ValueError(f"modality_dropout needs two modalities, modalities={self.sampling.modalities}")
        shorter = min(self.sampling.size)
        if min(self.sides) < BLOCK or max(self.sides) > shorter:
            raise ValueError(
                f"scale_jitter={self.augmentation.scale_jitter} of crop={self.sampling.crop} must give "
                f"squares between {BLOCK} pixels and the frame's shorter side, {shorter}"
            )

    @property
    def sides(self) -> list[int]:
        """Sides of the squares in pixels, on the 8-pixel grid."""
        return [BLOCK * round(scale * self.sampling.crop / BLOCK) for scale in self.augmentation.scale_jitter]

    def __call__(self, clip: CompressedClip, generators: Sequence[np.random.Generator]) -> CompressedClip:
        """Augment the batch; empty batches are unchanged.

        Args:
            clip: The batch of B clips.
            generators: Random generators of the B clips.
        """
        if not len(clip):
            return clip
        clip = self._random_squares(clip, generators)
        augmentation = self.augmentation
        if augmentation.flip:
            (number,) = _uniform(generators, 1)
            clip = flip(clip, number < 0.5, self.sampling.coefficients)
        if augmentation.color_jitter:
            factors = 1 + augmentation.color_jitter * (2 * _uniform(generators, 3) - 1)
            clip = adjust_colors(clip, *factors.float())
        clip = self._mix(clip, generators)
        if augmentation.modality_dropout:
            which, chance = _uniform(generators, 2)
            lost = (which * len(self.sampling.modalities)).long()
            lost[chance >= augmentation.modality_dropout] = -1
            clip = drop_modality(clip, lost, self.sampling.modalities)
        return clip

    def _random_squares(
        self, clip: CompressedClip, generators: Sequence[np.random.Generator]
    ) -> CompressedClip:
        """Random crops; clips of the same scale are cropped and resized together."""
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
        """Crops of a given side at positions (B,) between 0 (one border) and 1 (the other)."""
        rows, columns = ((length - side) // BLOCK + 1 for length in frame_size(clip.iframes))
        clip = crop(clip, BLOCK * (rows * top).long(), BLOCK * (columns * left).long(), side)
        size = self.sampling.crop
        return clip if side == size else resize(clip, (size, size))

    def _mix(self, clip: CompressedClip, generators: Sequence[np.random.Generator]) -> CompressedClip:
        mix, cut = self.augmentation.mixup, self.augmentation.cutmix
        if not mix and not cut:
            return clip
        choice, *center = _uniform(generators, 3)
        if mix and (not cut or choice[0] < 0.5):
            return mixup(clip, _beta(generators, mix), self.num_classes)
        return cutmix(clip, _beta(generators, cut), torch.stack(center), self.num_classes)


def _uniform(generators: Sequence[np.random.Generator], count: int) -> Tensor:
    """(count, B) numbers in [0, 1), ``count`` from each clip's generator."""
    return torch.from_numpy(np.stack([generator.random(count) for generator in generators], axis=1))


def _beta(generators: Sequence[np.random.Generator], shape: float) -> Tensor:
    """(B,) mixing ratios from a symmetric Beta distribution."""
    return torch.tensor([generator.beta(shape, shape) for generator in generators])
