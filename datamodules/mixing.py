"""Augmentation across the clips of a batch: mixing two of them, and hiding a modality of one.

Each clip is mixed with the one before it in the batch. A segment of the mixture has the I-frame in force of
either clip, so mixed I-frames are pairs; each distinct pair is made once. ``target`` holds the shares of the
classes, ``label`` the class of the larger share.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from cvr_lightning.clip import BlockMode, CompressedClip
from cvr_lightning.codec.arrays import BLOCK, Modality


def mixup(clip: CompressedClip, share: Tensor, num_classes: int) -> CompressedClip:
    """Blend whole clips: every field becomes the weighted mean of the two clips' (Zhang et al., 2018).

    That is exact for pixels and for coefficients, whose transform is linear; a mean of vectors is only a
    number between the two. A block takes the mode of the clip of the larger share, or of the other where it
    is skipped there. Blends therefore carry values where the mode says that there are none.

    Args:
        clip: The batch.
        share: (B,) share of each clip in its own mixture, in [0, 1]; the clip before it has the rest.
        num_classes: Number of classes.

    Returns:
        The batch with float I-frames in 0..255.
    """
    own, other = _paired(clip)
    weight = share.to(clip.motion.device)

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
    )
    return _with_targets(mixed, other.label, weight, num_classes)


def cutmix(clip: CompressedClip, share: Tensor, centre: Tensor, num_classes: int) -> CompressedClip:
    """Paste a box of the clip before it into each clip, through all of its time (Yun et al., 2019).

    The box lies on the 8-pixel grid, so pixels, vectors, coefficients and modes inside and outside are those
    of either clip, unchanged. It has the frame's aspect; what leaves the frame is cut off, and the share that
    counts is the area that was really pasted.

    Args:
        clip: The batch; sides are multiples of 8.
        share: (B,) share of its own area that a clip should keep, in [0, 1].
        centre: (2, B) row and column of the box's middle, in [0, 1) of the frame.
        num_classes: Number of classes.
    """
    own, other = _paired(clip)
    box = _boxes(share, centre, clip.modes.shape[-2:]).to(clip.motion.device)  # (B, H8, W8)
    pixels = box.repeat_interleave(BLOCK, 1).repeat_interleave(BLOCK, 2)

    def paste(name: str) -> Tensor:
        values, others = getattr(own, name), getattr(other, name)
        inside = pixels if values.shape[-2:] == pixels.shape[-2:] else box
        return torch.where(
            inside.view(len(box), *[1] * (values.dim() - 3), *inside.shape[1:]), others, values
        )

    is_seen, is_pasted = (~box).any((1, 2)), box.any((1, 2))
    mixed = own.with_tensors(
        **{name: paste(name) for name in ("iframes", "motion", "residual", "modes")},
        mask=(own.mask & is_seen.view(-1, 1, 1)) | (other.mask & is_pasted.view(-1, 1, 1)),
    )
    return _with_targets(mixed, other.label, 1 - box.float().mean((1, 2)), num_classes)


def drop_modality(clip: CompressedClip, lost: Tensor, modalities: Sequence[Modality]) -> CompressedClip:
    """Blank one modality of some clips: what is left is the clip as read without that modality.

    Args:
        clip: The batch.
        lost: (B,) index in ``modalities`` of what each clip loses, -1 for nothing.
        modalities: What the clips were read with.
    """
    lost = lost.to(clip.label.device)

    def blank(field: Tensor, which: Tensor, value: int = 0) -> Tensor:
        return field.masked_fill(which.view(-1, *[1] * (field.dim() - 1)), value)

    fields: dict[str, Tensor] = {
        name: blank(getattr(clip, name), lost == index) for index, name in enumerate(modalities)
    }
    of_pframes = [index for index, name in enumerate(modalities) if name != "iframes"]
    if len(of_pframes) == 1:  # nothing of the P-frames is left
        blind = lost == of_pframes[0]
        fields |= {"mask": blank(clip.mask, blind), "modes": blank(clip.modes, blind, BlockMode.OUTSIDE)}
    return clip.with_tensors(**fields)


def _paired(clip: CompressedClip) -> tuple[CompressedClip, CompressedClip]:
    """The batch and, row by row, the clip before each one, both with the same I-frames in force."""
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


def _boxes(share: Tensor, centre: Tensor, grid: Sequence[int]) -> Tensor:
    """(B, H8, W8) bool, true inside a box of (1 - share) of the area around a point."""
    inside: list[Tensor] = []
    for count, middle in zip(grid, centre, strict=True):
        half = count * (1 - share).sqrt()[:, None] / 2
        inside.append((torch.arange(count) + 0.5 - count * middle[:, None]).abs() < half)
    rows, columns = inside
    return rows[:, :, None] & columns[:, None, :]


def _with_targets(clip: CompressedClip, other: Tensor, share: Tensor, num_classes: int) -> CompressedClip:
    """The batch with the targets of its mixtures of ``share`` of the label and the rest of ``other``."""
    labels, others = F.one_hot(clip.label, num_classes), F.one_hot(other, num_classes)
    return clip.with_tensors(
        label=torch.where(share >= 0.5, clip.label, other),
        target=torch.lerp(others.float(), labels.float(), share[:, None]),
    )
