"""Input of the P-path: scaled motion, residuals and intra blocks on the codec's 8x8 grid.

Shape suffixes: M segments of all clips, T P-frames, C channels, H, W pixels, H8, W8 blocks.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from cvr_lightning.clip import BlockMode, CompressedClip
from cvr_lightning.codec.arrays import BLOCK
from cvr_lightning.models.global_motion import split_motion

MOTION_SCALE = 2.0
"""Displacement in pixels at which input compression turns from linear to logarithmic."""
RESIDUAL_SCALE = 16.0
"""The same for a DCT coefficient, in gray levels of an orthonormal transform."""
PIXEL_SCALE = RESIDUAL_SCALE / BLOCK
"""The same for a pixel residual: a block's DC coefficient is 8 times its mean."""
MOTION_GAIN = 6.0
"""Gain of compressed vectors, so that 2 vector channels weigh as much as 24 coefficients.

Stored in checkpoints, so weights always run with the gain of their training.
"""


MOTION_CHANNELS = 2
"""Leading channels of the block representation that hold vectors."""


class Fields(NamedTuple):
    """Output of a stem: fields (M, T, C, H8, W8), and global motion (M, T, 2) if compensated."""

    blocks: Tensor
    global_motion: Tensor | None


class _Stem(nn.Module):
    motion_gain: Tensor

    def __init__(self, global_motion: bool) -> None:
        super().__init__()
        self.register_buffer("motion_gain", torch.tensor(MOTION_GAIN))
        self.global_motion = global_motion

    def motion(self, clip: CompressedClip) -> tuple[Tensor, Tensor | None]:
        """Return compressed, amplified vectors, and compressed global motion if compensated."""
        if not self.global_motion:
            return self.motion_gain * compress(clip.motion, MOTION_SCALE), None
        relative, global_motion = split_motion(clip)
        scaled = self.motion_gain * compress(relative, MOTION_SCALE)
        return scaled, compress(global_motion, MOTION_SCALE).flatten(0, 1)


class BlockStem(_Stem):
    """The block representation, scaled losslessly and without parameters.

    Skipped blocks stay zero unless the camera moves.

    Args:
        residual_channels: Coefficients per block.
        global_motion: Compensate global motion.

    Attributes:
        out_channels: Channels C: vectors, coefficients, intra flag.
    """

    def __init__(self, residual_channels: int, global_motion: bool = True) -> None:
        super().__init__(global_motion)
        self.out_channels = MOTION_CHANNELS + residual_channels + 1

    def forward(self, clip: CompressedClip) -> Fields:
        """Scale the fields of a batch.

        Raises:
            ValueError: For a batch in the pixel representation.
        """
        if clip.motion.shape[-2:] != clip.modes.shape[-2:]:
            raise ValueError(
                "this model takes the block representation: set --data.sampling.representation=block, or "
                "build it with representation='pixel'"
            )
        motion, global_motion = self.motion(clip)
        fields = [motion, compress(clip.residual, RESIDUAL_SCALE), _is_intra(clip)]
        return Fields(torch.cat(fields, dim=3).flatten(0, 1), global_motion)


class PixelStem(_Stem):
    """A patch embedding of full-size motion and residual images, as used in the literature.

    Each 8x8 patch of vectors (2) and RGB differences (3) is mapped linearly to C channels.

    Args:
        channels: Channels of a patch.
        global_motion: Compensate global motion.

    Attributes:
        out_channels: Channels C: patch embedding, intra flag.
    """

    def __init__(self, channels: int, global_motion: bool = True) -> None:
        super().__init__(global_motion)
        self.out_channels = channels + 1
        # No bias, so empty patches stay zero.
        self.patches = nn.Conv2d(2 + 3, channels, kernel_size=BLOCK, stride=BLOCK, bias=False)

    def forward(self, clip: CompressedClip) -> Fields:
        """Scale the fields of a batch.

        Raises:
            ValueError: For a batch in the block representation.
        """
        if clip.motion.shape[-2:] == clip.modes.shape[-2:]:
            raise ValueError(
                "this model takes the pixel representation: set --data.sampling.representation=pixel, or "
                "build it with representation='block'"
            )
        motion, global_motion = self.motion(clip)
        images = torch.cat([motion, compress(clip.residual, PIXEL_SCALE)], dim=3)
        patches: Tensor = self.patches(images.flatten(0, 2)).unflatten(0, clip.motion.shape[:3])
        is_intra = _is_intra(clip).to(patches.dtype)
        return Fields(torch.cat([patches, is_intra], dim=3).flatten(0, 1), global_motion)


def compress(values: Tensor, scale: float) -> Tensor:
    """Linear near zero, logarithmic beyond ``scale``; the sign is kept, zero stays zero."""
    values = values.float()
    return values.sign() * torch.log1p(values.abs() / scale)


def _is_intra(clip: CompressedClip) -> Tensor:
    intra = (clip.modes == BlockMode.INTRA.value) | (clip.modes == BlockMode.INTRA_PREDICTED.value)
    return intra.unsqueeze(3).float()
