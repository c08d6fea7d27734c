"""The seam between the reader and whatever takes a bitstream apart."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from cvr_lightning.codec.arrays import Modality

if TYPE_CHECKING:
    from cvr_lightning.codec.h264.macroblocks import Macroblocks as H264Macroblocks
    from cvr_lightning.codec.mpeg4.macroblocks import Macroblocks as Mpeg4Macroblocks


@dataclass(frozen=True)
class PFrame:
    """What a P-frame holds, on its grid of 8x8 luma blocks, before any rotation or resizing.

    Attributes:
        motion: (2, H8, W8) float32, displacement (x, y) to the reference in samples, per frame of distance.
        residual: (C, H8, W8) float32 DCT residual in zigzag order: luma, Cb, Cr, where a chroma block stands
            in each of the 2x2 luma blocks that it covers; None where it was not asked for.
        modes: (H8, W8) uint8, a :class:`~cvr_lightning.codec.arrays.BlockMode` each.
    """

    motion: npt.NDArray[np.float32]
    residual: npt.NDArray[np.float32] | None
    modes: npt.NDArray[np.uint8]


@dataclass(frozen=True)
class BlockGrid:
    """The blocks to deliver of a frame.

    Attributes:
        rows: (h,) int64, the row on the frame's own grid of 8x8 luma blocks from which each row is taken.
        columns: (w,) int64, likewise.
        scale: (2,) float32, pixels delivered for each quarter sample of a vector, along x and y.
    """

    rows: npt.NDArray[np.int64]
    columns: npt.NDArray[np.int64]
    scale: npt.NDArray[np.float32]


@dataclass(frozen=True)
class BlockFields:
    """Fields of P-frames on a :class:`BlockGrid`, in S slots of zeros to fill.

    Attributes:
        motion: (S, 2, h, w) float32, displacement (x, y) to the reference in pixels, per frame of distance;
            (S, 0, h, w) where it is not asked for.
        residual: (S, C, h, w) float32, see :class:`PFrame`; (S, 0, h, w) where it is not asked for.
        modes: (S, h, w) uint8.
    """

    motion: npt.NDArray[np.float32]
    residual: npt.NDArray[np.float32]
    modes: npt.NDArray[np.uint8]


class Parser(Protocol):
    """Takes frames of one video out of its bitstream. Frames are named by their number in display order."""

    name: str
    reason: str

    def require(self, modalities: Sequence[Modality], accumulate: bool = False) -> None:
        """Check that the stream has the modalities, and that they can be accumulated if that is asked.

        Raises:
            UnsupportedStreamError: It has not; the text names the file, the cause and what to do.
        """

    def iframes(self, frames: Sequence[int], size: tuple[int, int]) -> Iterator[npt.NDArray[np.uint8]]:
        """RGB (H, W, 3) of the I-frames, in the order asked, scaled to ``size`` (H, W) in one step.

        Raises:
            UnreadableVideoError: A frame is damaged or missing.
        """

    def pframes(
        self, frames: Sequence[int], coefficients: tuple[int, int] | None
    ) -> Iterator[tuple[int, PFrame]]:
        """The P-frames, each with its number, in ascending order.

        Args:
            frames: Frame numbers, ascending and distinct.
            coefficients: Coefficients kept of luma and of each chroma; None leaves the residual out.

        Raises:
            UnreadableVideoError: A frame is damaged or missing.
        """

    def fill(
        self,
        frames: Sequence[int],
        slots: Sequence[int],
        coefficients: tuple[int, int] | None,
        grid: BlockGrid,
        fields: BlockFields,
    ) -> None:
        """Write P-frames into the caller's arrays.

        Args:
            frames: Frame numbers, ascending and distinct.
            slots: The slot that each frame fills.
            coefficients: Coefficients kept of luma and of each chroma; None leaves the residual out.
            grid: The blocks to deliver.
            fields: Zeros to fill.

        Raises:
            UnreadableVideoError: A frame is damaged or missing; the arrays must not be used.
        """

    def parse(self, frame: int) -> Mpeg4Macroblocks | H264Macroblocks:
        """All macroblocks of one frame, see :meth:`cvr_lightning.codec.CompressedVideoReader.parse`."""
