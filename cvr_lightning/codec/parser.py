"""The interface between the reader and the parsers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np
import numpy.typing as npt

from cvr_lightning.codec.arrays import Modality
from cvr_lightning.codec.container.packets import StreamPacket

if TYPE_CHECKING:
    from cvr_lightning.codec.h264.macroblocks import Macroblocks as H264Macroblocks
    from cvr_lightning.codec.mpeg4.macroblocks import Macroblocks as Mpeg4Macroblocks


@dataclass(frozen=True)
class PFrame:
    """Fields of a P-frame on its grid of 8x8 luma blocks, before rotation and resizing.

    Attributes:
        motion: (2, H8, W8) float32, displacement (x, y) to the reference in samples, per frame of distance.
        residual: (C, H8, W8) float32 DCT residual in zigzag order: luma, Cb, Cr; a chroma block is repeated
            in the 2x2 luma blocks that it covers. None if not requested.
        modes: (H8, W8) uint8, the :class:`~cvr_lightning.codec.arrays.BlockMode` of each block.
    """

    motion: npt.NDArray[np.float32]
    residual: npt.NDArray[np.float32] | None
    modes: npt.NDArray[np.uint8]


@dataclass(frozen=True)
class BlockGrid:
    """The blocks of a frame to deliver.

    Attributes:
        rows: (h,) int64, source row of each delivered row, on the frame's grid of 8x8 luma blocks.
        columns: (w,) int64, source column of each delivered column.
        scale: (2,) float32, delivered pixels per quarter sample of a vector, along x and y.
    """

    rows: npt.NDArray[np.int64]
    columns: npt.NDArray[np.int64]
    scale: npt.NDArray[np.float32]


@dataclass(frozen=True)
class BlockFields:
    """Output buffers for S P-frames on a :class:`BlockGrid`, initialized to zero.

    Attributes:
        motion: (S, 2, h, w) float32, displacement (x, y) to the reference in pixels, per frame of distance;
            (S, 0, h, w) if not requested.
        residual: (S, C, h, w) float32, see :class:`PFrame`; (S, 0, h, w) if not requested.
        modes: (S, h, w) uint8.
    """

    motion: npt.NDArray[np.float32]
    residual: npt.NDArray[np.float32]
    modes: npt.NDArray[np.uint8]


class Parser(Protocol):
    """Reads the frames of one video from its bitstream. Frames are numbered in display order."""

    name: str
    reason: str

    def require(self, modalities: Sequence[Modality], accumulate: bool = False) -> None:
        """Check that the stream provides the modalities and, if ``accumulate``, that they can be accumulated.

        Raises:
            UnsupportedStreamError: It does not; the message gives file, cause and fix.
        """

    def iframes(self, frames: Sequence[int], size: tuple[int, int]) -> Iterator[npt.NDArray[np.uint8]]:
        """Yield the I-frames as RGB (H, W, 3), in the requested order, scaled to ``size`` (H, W).

        Raises:
            UnreadableVideoError: A frame is damaged or missing.
        """

    def pframes(
        self, frames: Sequence[int], coefficients: tuple[int, int] | None
    ) -> Iterator[tuple[int, PFrame]]:
        """Yield the P-frames with their numbers, in ascending order.

        Args:
            frames: Frame numbers, ascending and distinct.
            coefficients: Coefficients kept per luma block and per chroma block; None omits the residual.

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
            slots: The slot to fill for each frame.
            coefficients: Coefficients kept per luma block and per chroma block; None omits the residual.
            grid: The blocks to deliver.
            fields: Output buffers, initialized to zero.

        Raises:
            UnreadableVideoError: A frame is damaged or missing; the arrays must not be used.
        """

    def parse(self, frame: int) -> Mpeg4Macroblocks | H264Macroblocks:
        """All macroblocks of one frame, see :meth:`cvr_lightning.codec.CompressedVideoReader.parse`."""


class StreamPicture(Protocol):
    """An I- or P-frame of a stream, not parsed yet."""

    @property
    def kind(self) -> Literal["I", "P"]:
        """Its type."""

    @property
    def number(self) -> int:
        """Index of the frame in the stream, see :class:`cvr_lightning.codec.stream.StreamFrame`."""

    @property
    def seconds(self) -> float | None:
        """Display time, None if unknown."""

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the frame."""

    def decode(self, size: tuple[int, int]) -> npt.NDArray[np.uint8]:
        """RGB (H, W, 3) of an I-frame, scaled to ``size``.

        Raises:
            BitstreamError: It is damaged.
        """

    def fill(self, coefficients: tuple[int, int], grid: BlockGrid, fields: BlockFields) -> None:
        """Write a P-frame into the only slot of ``fields``.

        Raises:
            BitstreamError: It is damaged; the arrays must not be used.
        """


class StreamParser(Protocol):
    """Reads the I- and P-frames of one stream, in display order."""

    def read(self, packet: StreamPacket) -> Iterator[StreamPicture]:
        """Take the next packet; yield the frames that can be read now.

        Raises:
            BitstreamError: The packet is damaged.
            UnsupportedStreamError: The stream uses a coding tool that is not read.
        """

    def finish(self) -> Iterator[StreamPicture]:
        """Yield the frames that are left at the end of the stream."""
