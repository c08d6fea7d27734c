"""Geometric and color transforms of a batch, on its device.

Every operation transforms pixels, vectors and DCT coefficients together and exactly: a crop is a slice of
each field, a mirrored block negates its odd horizontal frequencies. Units are unchanged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from cvr_lightning.clip import CompressedClip
from cvr_lightning.codec.arrays import BLOCK
from cvr_lightning.codec.fields.dct import ZIGZAG

LUMA_WEIGHTS = (0.299, 0.587, 0.114)
"""BT.601 weights of R, G, B."""


def is_pixel(clip: CompressedClip) -> bool:
    """Whether motion and residual are full-size images instead of block grids."""
    return clip.motion.shape[-2:] == clip.iframes.shape[-2:]


def _cells(clip: CompressedClip) -> dict[str, int]:
    """Fields with a position in the frame, and the pixels per cell."""
    cell = 1 if is_pixel(clip) else BLOCK
    return {"iframes": 1, "motion": cell, "residual": cell, "modes": BLOCK}


def _square(field: Tensor, corner: tuple[int, int], size: int, cell: int) -> Tensor:
    top, left = corner
    return field[..., top // cell : (top + size) // cell, left // cell : (left + size) // cell]


def _check_squares(clip: CompressedClip, corners: Sequence[tuple[int, int]], size: int) -> None:
    height, width = frame_size(clip.iframes)
    for y, x in corners:
        if y % BLOCK or x % BLOCK or size % BLOCK or y < 0 or x < 0 or y + size > height or x + size > width:
            raise ValueError(
                f"crop of {size} at (top {y}, left {x}) is off the 8-pixel grid or the {width}x{height} frame"
            )


def crop(clip: CompressedClip, top: Tensor, left: Tensor, size: int) -> CompressedClip:
    """Crop a square from each clip, as exact slices of every field.

    Args:
        clip: The batch.
        top: (B,) first row of each clip in pixels, multiples of 8.
        left: (B,) first column of each clip in pixels, multiples of 8.
        size: Side in pixels, a multiple of 8.

    Raises:
        ValueError: A square is off the 8-pixel grid or outside the frame.
    """
    corners = list(zip(top.tolist(), left.tolist(), strict=True))
    _check_squares(clip, corners, size)

    def cut(field: Tensor, cell: int) -> Tensor:
        return torch.stack([_square(f, corner, size, cell) for f, corner in zip(field, corners, strict=True)])

    return clip.with_tensors(**{name: cut(getattr(clip, name), cell) for name, cell in _cells(clip).items()})


def spread_crops(clip: CompressedClip, corners: Sequence[tuple[int, int]], size: int) -> CompressedClip:
    """Crop the same squares from every clip, as exact slices of every field.

    Args:
        clip: The batch of B clips.
        corners: (top, left) of the R squares in pixels, multiples of 8.
        size: Side in pixels, a multiple of 8.

    Returns:
        B x R clips, ordered by clip; ``view`` becomes view x R + square.

    Raises:
        ValueError: A square is off the 8-pixel grid or outside the frame.
    """
    _check_squares(clip, corners, size)
    squares = {
        name: [_square(getattr(clip, name), corner, size, cell) for corner in corners]
        for name, cell in _cells(clip).items()
    }
    return _side_by_side(clip, squares, len(corners))


def spread_mirrored(clip: CompressedClip, coefficients: tuple[int, int]) -> CompressedClip:
    """Add the mirror image of every clip: B clips become 2 B; ``view`` becomes view x 2 + mirrored.

    Raises:
        ValueError: As for :func:`flip`.
    """
    mirrored = flip(clip, torch.ones(len(clip), dtype=torch.bool), coefficients)
    both = {name: [getattr(clip, name), getattr(mirrored, name)] for name in _cells(clip)}
    return _side_by_side(clip, both, 2)


def _side_by_side(clip: CompressedClip, versions: dict[str, list[Tensor]], count: int) -> CompressedClip:
    """Return ``count`` versions of each clip, which differ in some fields."""
    fields = {
        name: tensor.repeat_interleave(count, dim=0)
        for name, tensor in clip.tensors()
        if name not in versions
    }
    fields |= {name: torch.stack(tensors, dim=1).flatten(0, 1) for name, tensors in versions.items()}
    fields["view"] = fields["view"] * count + torch.arange(count, device=clip.view.device).repeat(len(clip))
    return clip.with_tensors(**fields)


def flip(clip: CompressedClip, which: Tensor, coefficients: tuple[int, int]) -> CompressedClip:
    """Mirror clips horizontally.

    Args:
        clip: The batch; its width must be a multiple of 8, so crop first.
        which: (B,) bool, the clips to mirror.
        coefficients: Coefficients per luma block and per chroma block (block representation only).

    Raises:
        ValueError: The width is not a multiple of 8, or the number of channels does not match.
    """
    if clip.iframes.shape[-1] % BLOCK:
        raise ValueError(
            f"a width of {clip.iframes.shape[-1]} splits blocks when mirrored: crop to a multiple of 8 first"
        )
    device = clip.motion.device
    which = which.to(device)
    motion_sign = torch.tensor([-1.0, 1.0], device=device).view(2, 1, 1)

    def mirror(field: Tensor, sign: Tensor | None = None) -> Tensor:
        mirrored = field.flip(-1) if sign is None else field.flip(-1) * sign.to(field.dtype)
        return torch.where(which.view(-1, *[1] * (field.dim() - 1)), mirrored, field)

    return replace(
        clip,
        iframes=mirror(clip.iframes),
        motion=mirror(clip.motion, motion_sign),
        residual=mirror(
            clip.residual, None if is_pixel(clip) else _mirror_signs(clip.residual, coefficients)
        ),
        modes=mirror(clip.modes),
    )


def _mirror_signs(residual: Tensor, coefficients: tuple[int, int]) -> Tensor:
    """(C, 1, 1) signs of a mirrored block: cosines of odd horizontal frequency are odd about its center."""
    luma, chroma = coefficients
    channels = luma + 2 * chroma
    if residual.shape[-3] != channels:
        raise ValueError(
            f"the residual has {residual.shape[-3]} channels, but coefficients={coefficients} make {channels}"
        )
    signs = [-1.0 if horizontal % 2 else 1.0 for horizontal in ZIGZAG[:, 1]]
    return torch.tensor(signs[:luma] + 2 * signs[:chroma], device=residual.device).view(-1, 1, 1)


def resize(clip: CompressedClip, size: tuple[int, int]) -> CompressedClip:
    """Resize the frames; block fields use the nearest block, vectors scale with the axes.

    I-frames are resized bilinearly with antialiasing. Coefficients of different blocks are never blended.

    Args:
        clip: The batch.
        size: (H, W) in pixels.
    """
    old, new = frame_size(clip.iframes), size
    scale = torch.tensor([new[1] / old[1], new[0] / old[0]], device=clip.motion.device).view(2, 1, 1)
    cell = 1 if is_pixel(clip) else BLOCK
    return replace(
        clip,
        iframes=_resize_images(clip.iframes, size),
        motion=_nearest(clip.motion, old, new, cell) * scale.to(clip.motion.dtype),
        residual=_nearest(clip.residual, old, new, cell),
        modes=_nearest(clip.modes, old, new, BLOCK),
    )


def frame_size(images: Tensor) -> tuple[int, int]:
    """(H, W) of images in pixels."""
    return images.shape[-2], images.shape[-1]


def _resize_images(images: Tensor, size: tuple[int, int]) -> Tensor:
    scaled = F.interpolate(images.flatten(0, 1).float(), size=size, mode="bilinear", antialias=True)
    scaled = scaled.view(*images.shape[:3], *size)
    return scaled if images.is_floating_point() else scaled.round().clamp(0, 255).to(images.dtype)


def _nearest(field: Tensor, old: tuple[int, int], new: tuple[int, int], cell: int) -> Tensor:
    """Sample a field of ``cell``-pixel cells at the old position of each new cell's center."""
    for axis in (0, 1):
        count = -(-new[axis] // cell)
        centers = (2 * torch.arange(count, device=field.device) * cell + cell) * old[axis]
        source = torch.div(centers, 2 * new[axis] * cell, rounding_mode="floor")
        field = field.index_select(axis - 2, source.clamp_(max=field.shape[axis - 2] - 1))
    return field


def adjust_colors(
    clip: CompressedClip, brightness: Tensor, contrast: Tensor, saturation: Tensor
) -> CompressedClip:
    """Change colors, equally in all I-frames of a clip.

    Args:
        clip: The batch.
        brightness: (B,) factors of the gray level.
        contrast: (B,) factors of the difference from the image's mean luma.
        saturation: (B,) factors of the difference from each pixel's luma.

    Returns:
        The batch with float I-frames in 0..255.
    """
    device = clip.iframes.device
    weights = torch.tensor(LUMA_WEIGHTS, device=device).view(3, 1, 1)

    def factor(values: Tensor) -> Tensor:
        return values.to(device).view(-1, 1, 1, 1, 1)

    def luma(images: Tensor) -> Tensor:
        return (images * weights).sum(-3, keepdim=True)

    images = (clip.iframes.float() * factor(brightness)).clamp(0, 255)
    images = torch.lerp(luma(images).mean((-2, -1), keepdim=True), images, factor(contrast)).clamp(0, 255)
    images = torch.lerp(luma(images), images, factor(saturation)).clamp(0, 255)
    return replace(clip, iframes=images)
