"""Geometry and colour of a batch, on the device it lies on.

Every operation moves pixels, vectors and DCT coefficients together and exactly: a crop is a slice of each
field, a mirrored block is its coefficients with the odd horizontal frequencies negated. Units stay raw.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from cvr_lightning.clip import CompressedClip
from cvr_lightning.codec.arrays import BLOCK
from cvr_lightning.codec.dct import ZIGZAG

LUMA_WEIGHTS = (0.299, 0.587, 0.114)
"""BT.601 weights of R, G, B."""


def is_pixel(clip: CompressedClip) -> bool:
    """Whether motion and residual are full-size images rather than block grids."""
    return clip.motion.shape[-2:] == clip.iframes.shape[-2:]


def crop(clip: CompressedClip, top: Tensor, left: Tensor, size: int) -> CompressedClip:
    """Cut a square out of each clip: exact slices of every field.

    Args:
        clip: The batch.
        top: (B,) first row of each clip in pixels, multiples of 8.
        left: (B,) first column of each clip in pixels, multiples of 8.
        size: Side in pixels, a multiple of 8.

    Raises:
        ValueError: Where a square is off the 8-pixel grid or leaves the frame.
    """
    height, width = clip.iframes.shape[-2:]
    corners = list(zip(top.tolist(), left.tolist(), strict=True))
    for y, x in corners:
        if y % BLOCK or x % BLOCK or size % BLOCK or y < 0 or x < 0 or y + size > height or x + size > width:
            raise ValueError(
                f"crop of {size} at (top {y}, left {x}) is off the 8-pixel grid or the {width}x{height} frame"
            )

    def cut(field: Tensor, scale: int) -> Tensor:
        side = size // scale
        rows = [(y // scale, x // scale) for y, x in corners]
        return torch.stack(
            [f[..., y : y + side, x : x + side] for f, (y, x) in zip(field, rows, strict=True)]
        )

    scale = 1 if is_pixel(clip) else BLOCK
    return replace(
        clip,
        iframes=cut(clip.iframes, 1),
        motion=cut(clip.motion, scale),
        residual=cut(clip.residual, scale),
        modes=cut(clip.modes, BLOCK),
    )


def flip(clip: CompressedClip, which: Tensor, coefficients: tuple[int, int]) -> CompressedClip:
    """Mirror clips left to right.

    Args:
        clip: The batch; its width must be a multiple of 8, so crop first.
        which: (B,) bool, the clips to mirror.
        coefficients: Coefficients of a luma block and of each chroma block (block representation only).

    Raises:
        ValueError: Where the width is not a multiple of 8, or the channels are not these coefficients.
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
    """(C, 1, 1) signs that mirror a block: cosines of odd horizontal frequency are odd about its centre."""
    luma, chroma = coefficients
    channels = luma + 2 * chroma
    if residual.shape[-3] != channels:
        raise ValueError(
            f"the residual has {residual.shape[-3]} channels, but coefficients={coefficients} make {channels}"
        )
    signs = [-1.0 if horizontal % 2 else 1.0 for horizontal in ZIGZAG[:, 1]]
    return torch.tensor(signs[:luma] + 2 * signs[:chroma], device=residual.device).view(-1, 1, 1)


def resize(clip: CompressedClip, size: tuple[int, int]) -> CompressedClip:
    """Scale the frames; block fields take the nearest block, vectors scale with the axes.

    I-frames are resampled bilinearly with antialiasing. Coefficients of different blocks are never blended.

    Args:
        clip: The batch.
        size: (H, W) in pixels.
    """
    old, new = _size(clip.iframes), size
    scale = torch.tensor([new[1] / old[1], new[0] / old[0]], device=clip.motion.device).view(2, 1, 1)
    cell = 1 if is_pixel(clip) else BLOCK
    return replace(
        clip,
        iframes=_resize_images(clip.iframes, size),
        motion=_nearest(clip.motion, old, new, cell) * scale.to(clip.motion.dtype),
        residual=_nearest(clip.residual, old, new, cell),
        modes=_nearest(clip.modes, old, new, BLOCK),
    )


def _size(images: Tensor) -> tuple[int, int]:
    return images.shape[-2], images.shape[-1]


def _resize_images(images: Tensor, size: tuple[int, int]) -> Tensor:
    scaled = F.interpolate(images.flatten(0, 1).float(), size=size, mode="bilinear", antialias=True)
    scaled = scaled.view(*images.shape[:3], *size)
    return scaled if images.is_floating_point() else scaled.round().clamp(0, 255).to(images.dtype)


def _nearest(field: Tensor, old: tuple[int, int], new: tuple[int, int], cell: int) -> Tensor:
    """Sample a field of ``cell``-pixel cells where the centre of each new cell falls in the old frame."""
    for axis in (0, 1):
        count = -(-new[axis] // cell)
        centres = (2 * torch.arange(count, device=field.device) * cell + cell) * old[axis]
        source = torch.div(centres, 2 * new[axis] * cell, rounding_mode="floor")
        field = field.index_select(axis - 2, source.clamp_(max=field.shape[axis - 2] - 1))
    return field


def colour(clip: CompressedClip, brightness: Tensor, contrast: Tensor, saturation: Tensor) -> CompressedClip:
    """Change the I-frames' colours, alike for all I-frames of a clip.

    Args:
        clip: The batch.
        brightness: (B,) factors of the grey level.
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


@dataclass(frozen=True)
class EvalTransform:
    """Centre crop, on the 8-pixel grid.

    Attributes:
        size: Side of the crop in pixels.
    """

    size: int

    def __call__(self, clip: CompressedClip) -> CompressedClip:
        """Crop the batch; an empty batch passes through."""
        if not len(clip):
            return clip
        height, width = _size(clip.iframes)
        top, left = ((side - self.size) // 2 // BLOCK * BLOCK for side in (height, width))
        corner = torch.ones(len(clip), dtype=torch.int64)
        return crop(clip, corner * top, corner * left, self.size)


@dataclass(frozen=True)
class TrainTransform:
    """Random crop on the 8-pixel grid, mirror and colour jitter; numbers from torch's global generator.

    Attributes:
        size: Side of the crop in pixels.
        flip: Mirror half of the clips; only where left and right are not labels.
        colour: Largest relative change of brightness, contrast and saturation, 0 for none.
        coefficients: Coefficients of a luma block and of each chroma block.
    """

    size: int
    flip: bool
    colour: float
    coefficients: tuple[int, int]

    def __call__(self, clip: CompressedClip) -> CompressedClip:
        """Augment the batch; an empty batch passes through."""
        batch = len(clip)
        if not batch:
            return clip
        top, left = (
            BLOCK * torch.randint((side - self.size) // BLOCK + 1, (batch,)) for side in _size(clip.iframes)
        )
        clip = crop(clip, top, left, self.size)
        if self.flip:
            clip = flip(clip, torch.rand(batch) < 0.5, self.coefficients)
        if self.colour:
            clip = colour(clip, *(1 + self.colour * (2 * torch.rand(3, batch) - 1)))
        return clip
