"""Output of a reader: NumPy arrays on the codec's 8x8 block grid.

Shapes: N segments, K distinct I-frames, T P-frames per segment, C coefficient channels, frames of H x W
pixels, and H8 = ceil(H / 8), W8 = ceil(W / 8) blocks. Units and signs follow :mod:`cvr_lightning.clip`, which
adds the batch dimension.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BLOCK = 8
"""Block side in luma samples: the grid of vectors, coefficients and modes."""

Modality = Literal["iframes", "motion", "residual"]
Representation = Literal["block", "pixel"]
MODALITIES: tuple[Modality, ...] = ("iframes", "motion", "residual")


class BlockMode(IntEnum):
    """Coding mode of the macroblock that contains a block."""

    SKIPPED = 0
    """Copied from the reference with a zero vector; no coded bits."""
    INTER = 1
    """Predicted with the vector or vectors of the macroblock (16x16, or an H.264 partition)."""
    INTER4V = 2
    """Predicted with four vectors, one per 8x8 block."""
    INTRA = 3
    """Coded without prediction: the residual is the block itself."""
    OUTSIDE = 4
    """The P-frame does not exist."""
    INTRA_PREDICTED = 5
    """Intra-predicted from neighboring samples; the residual is relative to that prediction (H.264)."""


@dataclass(frozen=True)
class Segment:
    """An I-frame and the P-frames of one window in its GOP, as frame numbers in display order."""

    iframe: int
    pframes: tuple[int, ...]


@dataclass(frozen=True)
class ClipArrays:
    """The segments of one video.

    Attributes:
        iframes: (K, 3, H, W) uint8, RGB.
        iframe_index: (N,) int64, index of each segment's I-frame among the K.
        motion: (N, T, 2, H8, W8) float32; (N, T, 2, H, W) in the pixel representation.
        residual: (N, T, C, H8, W8) float32; (N, T, 3, H, W) RGB differences in the pixel representation.
        modes: (N, T, H8, W8) uint8, the :class:`BlockMode` of each block.
        mask: (N, T) bool, true if the P-frame exists and was requested.
        age: (N, T) int64, frames from the segment's I-frame to the P-frame in display order; 0 if masked.
        prepared: The video was prepared in memory to be read.
    """

    iframes: npt.NDArray[np.uint8]
    iframe_index: npt.NDArray[np.int64]
    motion: npt.NDArray[np.float32]
    residual: npt.NDArray[np.float32]
    modes: npt.NDArray[np.uint8]
    mask: npt.NDArray[np.bool_]
    age: npt.NDArray[np.int64]
    prepared: bool = False

    def __repr__(self) -> str:
        shapes = (f"{name} {getattr(self, name).shape}" for name in ("iframes", "motion", "residual"))
        return f"ClipArrays({', '.join(shapes)}, {int(self.mask.sum())} of {self.mask.size} P-frames)"

    def plot(self, title: str = "") -> Figure:
        """Draw a P-frame of the clip: I-frame, vectors, residual energy, macroblock modes."""
        from cvr_lightning import plot_arrays

        return plot_arrays(self, title)

    def split(self, count: int) -> list[ClipArrays]:
        """Divide the segments into ``count`` clips of as many, each with the I-frames that it refers to."""
        clips = []
        size = len(self.iframe_index) // count
        for rows in (slice(size * number, size * (number + 1)) for number in range(count)):
            distinct, index = np.unique(self.iframe_index[rows], return_inverse=True)
            own = {name: getattr(self, name)[rows] for name in ("motion", "residual", "modes", "mask", "age")}
            clips.append(replace(self, iframes=self.iframes[distinct], iframe_index=index, **own))
        return clips

    @classmethod
    def without_pframes(
        cls,
        iframes: npt.NDArray[np.uint8],
        iframe_index: npt.NDArray[np.int64],
        t: int,
        coefficients: tuple[int, int],
        representation: Representation,
    ) -> ClipArrays:
        """Build arrays with the I-frames of N segments and all P-frames masked.

        Args:
            iframes: (K, 3, H, W) uint8.
            iframe_index: (N,) int64.
            t: Number of P-frames T per segment.
            coefficients: DCT coefficients kept per luma block and per chroma block.
            representation: ``"block"`` for the block grid, ``"pixel"`` for one value per pixel.
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
            age=np.zeros((n, t), np.int64),
        )


def blocks(pixels: int) -> int:
    """Number of 8x8 blocks that cover ``pixels`` samples."""
    return -(-pixels // BLOCK)
