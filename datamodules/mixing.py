"""Augmentation across clips: mixing two clips of a batch, and dropping a modality.

Each clip is mixed with the preceding one in the batch. A segment of the mixture uses I-frames of both clips,
so mixed I-frames are pairs; each distinct pair is computed once. ``target`` holds the class weights,
``label`` the class of the larger weight.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from cvr_lightning.clip import BlockMode, CompressedClip
from cvr_lightning.codec.arrays import BLOCK, Modality


def mixup(clip: CompressedClip, ratio: Tensor, num_classes: int) -> CompressedClip:
    """Blend whole clips: every field becomes the weighted mean of both (Zhang et al., 2018).

    This is exact for pixels and for coefficients, whose transform is linear; a mean of vectors has no such
    meaning. A block takes the mode of the clip with the larger ratio, or of the other if skipped there.
    Blends can therefore have values where the mode implies none.

    Args:
        clip: The batch.
        ratio: (B,) weight of each clip in its mixture, in [0, 1]; the preceding clip has the rest.
        num_classes: Number of classes.

    Returns:
        The batch with float I-frames in 0..255.
    """
    own, other = _paired(clip)
    weight = ratio.to(clip.motion.device)

    def blend(name: str) -> Tensor:
        values, others = getattr(own, name), getattr(other, name)
        return torch.lerp(others.float(), values.float(), weight.view(-1, *[1] * (values.dim() - 1)))

    heavier = (weight >= 0.5).view(-1, 1, 1, 1, 1)
    major, minor = torch.where(heavier, own.modes, other.modes), torch.where(heavier, other.modes, own.modes)
    silent = (major == BlockMode.SKIPPED) | (major == BlockMode.OUTSIDE)
    mixed = own.with_tensors(
        iframes=blend("iframes"),
        motion=blend("motion"),
        residual=blend("residual"),
        modes=torch.where(silent & (minor != BlockMode.OUTSIDE), minor, major),
        mask=own.mask | other.mask,
        age=torch.where(own.mask, own.age, other.age * other.mask),
    )
    return _with_targets(mixed, other.label, weight, num_classes)


def cutmix(clip: CompressedClip, ratio: Tensor, center: Tensor, num_classes: int) -> CompressedClip:
    """Paste a box of the preceding clip into each clip, at all times (Yun et al., 2019).

    The box lies on the 8-pixel grid, so all fields are unchanged inside and outside. It has the frame's
    aspect ratio and is clipped to the frame; class weights follow the area actually pasted.

    Args:
        clip: The batch; sides are multiples of 8.
        ratio: (B,) fraction of its area that a clip should keep, in [0, 1].
        center: (2, B) row and column of the box's center, in [0, 1) of the frame.
        num_classes: Number of classes.
    """
    own, other = _paired(clip)
    box = _boxes(ratio, center, clip.modes.shape[-2:]).to(clip.motion.device)  # (B, H8, W8)
    pixels = box.repeat_interleave(BLOCK, 1).repeat_interleave(BLOCK, 2)

    def paste(name: str) -> Tensor:
        values, others = getattr(own, name), getattr(other, name)
        inside = pixels if values.shape[-2:] == pixels.shape[-2:] else box
        return torch.where(
            inside.view(len(box), *[1] * (values.dim() - 3), *inside.shape[1:]), others, values
        )

    is_seen, is_pasted = (~box).any((1, 2)), box.any((1, 2))
    kept, pasted = own.mask & is_seen.view(-1, 1, 1), other.mask & is_pasted.view(-1, 1, 1)
    mixed = own.with_tensors(
        **{name: paste(name) for name in ("iframes", "motion", "residual", "modes")},
        mask=kept | pasted,
        age=torch.where(kept, own.age, other.age * pasted),
    )
    return _with_targets(mixed, other.label, 1 - box.float().mean((1, 2)), num_classes)


def drop_modality(clip: CompressedClip, lost: Tensor, modalities: Sequence[Modality]) -> CompressedClip:
    """Blank one modality of some clips; equals reading the clips without that modality.

    Args:
        clip: The batch.
        lost: (B,) index in ``modalities`` of the dropped one, -1 for none.
        modalities: Modalities that were read.
    """
    lost = lost.to(clip.label.device)

    def blank(field: Tensor, which: Tensor, value: int = 0) -> Tensor:
        return field.masked_fill(which.view(-1, *[1] * (field.dim() - 1)), value)

    fields: dict[str, Tensor] = {
        name: blank(getattr(clip, name), lost == index) for index, name in enumerate(modalities)
    }
    of_pframes = [index for index, name in enumerate(modalities) if name != "iframes"]
    if len(of_pframes) == 1:  # no field of the P-frames remains
        blind = lost == of_pframes[0]
        fields |= {"mask": blank(clip.mask, blind), "age": blank(clip.age, blind)}
        fields |= {"modes": blank(clip.modes, blind, BlockMode.OUTSIDE)}
    return clip.with_tensors(**fields)


def _paired(clip: CompressedClip) -> tuple[CompressedClip, CompressedClip]:
    """The batch and, row by row, the preceding clips, both with the same I-frames in force."""
    other = clip.map(lambda tensor: tensor.roll(1, 0))
    distinct = clip.iframes.shape[1]
    pairs = (clip.iframe_index * distinct + other.iframe_index).tolist()
    tables = [sorted(set(row)) for row in pairs]
    width = max(map(len, tables))
    device = clip.iframe_index.device
    index = torch.tensor(
        [[table.index(pair) for pair in row] for table, row in zip(tables, pairs, strict=True)], device=device
    )
    table = torch.tensor([row + row[:1] * (width - len(row)) for row in tables], device=device)
    row = torch.arange(len(clip), device=device)[:, None]
    return (
        clip.with_tensors(iframes=clip.iframes[row, table // distinct], iframe_index=index),
        other.with_tensors(iframes=other.iframes[row, table % distinct], iframe_index=index),
    )


def _boxes(ratio: Tensor, center: Tensor, grid: Sequence[int]) -> Tensor:
    """(B, H8, W8) bool mask of boxes with (1 - ratio) of the area around a point."""
    inside: list[Tensor] = []
    for count, middle in zip(grid, center, strict=True):
        half = count * (1 - ratio).sqrt()[:, None] / 2
        inside.append((torch.arange(count) + 0.5 - count * middle[:, None]).abs() < half)
    rows, columns = inside
    return rows[:, :, None] & columns[:, None, :]


def _with_targets(clip: CompressedClip, other: Tensor, ratio: Tensor, num_classes: int) -> CompressedClip:
    """Add the targets: ``ratio`` of the label, the rest of ``other``."""
    labels, others = F.one_hot(clip.label, num_classes), F.one_hot(other, num_classes)
    return clip.with_tensors(
        label=torch.where(ratio >= 0.5, clip.label, other),
        target=torch.lerp(others.float(), labels.float(), ratio[:, None]),
    )
