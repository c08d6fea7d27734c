"""What a reader delivers: NumPy arrays on the codec's own 8x8 block grid.

Shapes, with N segments, K distinct I-frames, T P-frames a segment, C coefficient channels, frames of
H x W pixels and H8 = ceil(H / 8), W8 = ceil(W / 8) blocks. Units and signs are those of
:mod:`cvr_lightning.clip`, which adds the batch dimension.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Literal

import numpy as np
import numpy.typing as npt

BLOCK = 8
"""Side of a block in luma samples: the grid of vectors, coefficients and modes."""

Modality = Literal["iframes", "motion", "residual"]
Representation = Literal["block", "pixel"]
MODALITIES: tuple[Modality, ...] = ("iframes", "motion", "residual")


class BlockMode(IntEnum):
    """How the codec coded the macroblock that a block belongs to."""

    SKIPPED = 0
    """Copied from the reference with a zero vector; carries no bits."""
    INTER = 1
    """Predicted by the macroblock's vector or vectors (16x16, or an H.264 partition)."""
    INTER4V = 2
    """Predicted by four vectors, one for each 8x8 block."""
    INTRA = 3
    """Coded without prediction: its residual is the block itself."""
    OUTSIDE = 4
    """No such block: the P-frame does not exist."""
    INTRA_PREDICTED = 5
    """Intra, predicted from the samples around it: its residual is relative to that prediction (H.264)."""


@dataclass(frozen=True)
class Segment:
    """The I-frame in force and the P-frames of one window, as frame numbers in display order."""

    iframe: int
    pframes: tuple[int, ...]


@dataclass(frozen=True)
class ClipArrays:
    """The segments of one video.

    Attributes:
        iframes: (K, 3, H, W) uint8, RGB.
        iframe_index: (N,) int64, which of the K I-frames each segment uses.
        motion: (N, T, 2, H8, W8) float32; (N, T, 2, H, W) in the pixel representation.
        residual: (N, T, C, H8, W8) float32; (N, T, 3, H, W) RGB differences in the pixel representation.
        modes: (N, T, H8, W8) uint8, a :class:`BlockMode` each.
        mask: (N, T) bool, true where the P-frame exists and was asked for.
    """

    iframes: npt.NDArray[np.uint8]
    iframe_index: npt.NDArray[np.int64]
    motion: npt.NDArray[np.float32]
    residual: npt.NDArray[np.float32]
    modes: npt.NDArray[np.uint8]
    mask: npt.NDArray[np.bool_]

    @classmethod
    def without_pframes(
        cls,
        iframes: npt.NDArray[np.uint8],
        iframe_index: npt.NDArray[np.int64],
        t: int,
        coefficients: tuple[int, int],
        representation: Representation,
    ) -> ClipArrays:
        """The I-frames of N segments with T windows in which no P-frame exists yet.

        Args:
            iframes: (K, 3, H, W) uint8.
            iframe_index: (N,) int64.
            t: P-frames T.
            coefficients: DCT coefficients of a luma block and of each chroma block.
            representation: On the block grid, or for each pixel.
        """
        n, (height, width) = len(iframe_index), iframes.shape[2:]
        grid = (blocks(height), blocks(width))
        plane = grid if representation == "block" else (height, width)
        channels = coefficients[0] + 2 * coefficients[1] if representation == "block" else 3
        return cls(
            iframes=iframes,
            iframe_index=iframe_index,
            motion=np.zeros((n, t, 2, *plane), np.float32),
            residual=np.zeros((n, t, channels, *plane), np.float32),
            modes=np.full((n, t, *grid), BlockMode.OUTSIDE, np.uint8),
            mask=np.zeros((n, t), bool),
        )


def blocks(pixels: int) -> int:
    """Number of 8x8 blocks that cover ``pixels`` samples."""
    return -(-pixels // BLOCK)
