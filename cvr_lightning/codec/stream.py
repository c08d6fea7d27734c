"""Reads a compressed stream frame by frame, without an index."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from cvr_lightning.codec.arrays import MODALITIES, ClipArrays, Modality
from cvr_lightning.codec.container.packets import PacketStream
from cvr_lightning.codec.errors import (
    ENCODE_ON_THE_WAY,
    FETCH_AGAIN,
    BitstreamError,
    UnreadableVideoError,
    UnsupportedStreamError,
)
from cvr_lightning.codec.fields import geometry
from cvr_lightning.codec.fields.delivery import FieldMaker
from cvr_lightning.codec.h264.stream import H264Stream
from cvr_lightning.codec.mpeg4.stream import Mpeg4Stream
from cvr_lightning.codec.parser import BlockFields, BlockGrid, StreamParser, StreamPicture

log = logging.getLogger(__name__)

OnError = Literal["raise", "skip"]
_PARSERS: dict[str, Callable[[PacketStream], StreamParser]] = {"mpeg4": Mpeg4Stream, "h264": H264Stream}
_FEWEST = (1, 1)  # coefficients parsed if none are requested


@dataclass(frozen=True)
class StreamFrame:
    """An I- or P-frame.

    Attributes:
        kind: ``"I"`` or ``"P"``.
        number: Index of the frame in the stream, from 0: in coded order in MPEG-4 Part 2, in display order in
            H.264.
        seconds: Display time, None if unknown.
        step: Position of a P-frame in its segment: 0 starts a segment; ``pframes`` and above are between two
            segments.
        arrays: A clip of one segment: an I-frame, or the current I-frame and one P-frame; None between two
            segments.
    """

    kind: Literal["I", "P"]
    number: int
    seconds: float | None
    step: int
    arrays: ClipArrays | None


class CompressedStream:
    """Reads I- and P-frames of MPEG-4 Part 2 and H.264 video as packets arrive, in block representation.

    Segments are assigned without look-ahead: one starts at the first P-frame after each I-frame and at every
    ``stride``-th P-frame from there. It takes ``pframes`` P-frames, fewer if an I-frame arrives. P-frames
    between segments are not parsed. B-frames are skipped, as is everything before the first I-frame at which
    reading can begin.

    Frames come in display order. Those of MPEG-4 Part 2 come with their packet; in H.264 with B-frames, a
    P-frame comes after the frames that are shown before it. In MPEG-4 Part 2 the ``age`` of a P-frame
    therefore counts pictures in coded order.

    Args:
        packets: The video.
        pframes: P-frames T of a segment.
        stride: P-frames from the start of one segment to the start of the next, at least ``pframes``.
        size: (H, W) of the output.
        coefficients: Zigzag coefficients kept per luma block and per chroma block.
        modalities: What to read; the other arrays are zero.
        on_error: ``"raise"`` raises the error of a damaged packet; ``"skip"`` drops frames up to the next
            I-frame and logs a warning the first time.

    Attributes:
        damaged: Number of damaged packets and frames skipped.

    Raises:
        UnsupportedStreamError: The codec is neither MPEG-4 Part 2 nor H.264.
        ValueError: An argument is out of range.
    """

    def __init__(
        self,
        packets: PacketStream,
        pframes: int,
        stride: int,
        size: tuple[int, int],
        coefficients: tuple[int, int] = (16, 4),
        modalities: Sequence[Modality] = MODALITIES,
        on_error: OnError = "raise",
    ) -> None:
        if not 1 <= pframes <= stride:
            raise ValueError(f"a stride of {stride} does not hold segments of {pframes} P-frames: raise it")
        if on_error not in get_args(OnError):
            raise ValueError(f"on_error must be one of {get_args(OnError)}, got {on_error!r}")
        if packets.codec not in _PARSERS:
            cause = f"its codec is {packets.codec}; streams must be MPEG-4 Part 2 or H.264"
            raise UnsupportedStreamError(packets.name, cause, ENCODE_ON_THE_WAY)
        self.damaged = 0
        self._source = packets
        self._parser = _PARSERS[packets.codec](packets)
        self._pframes, self._stride = pframes, stride
        self._size, self._coefficients = size, coefficients
        self._modalities = frozenset(modalities)
        self._on_error = on_error
        self._grid: tuple[tuple[int, int], BlockGrid] | None = None
        self._image: npt.NDArray[np.uint8] | None = None  # current I-frame, None until one arrives
        self._iframe_number = 0
        self._since_iframe = 0  # P-frames

    def __iter__(self) -> Iterator[StreamFrame]:
        """Yield the frames as they arrive; can be iterated once.

        Raises:
            BitstreamError: A packet is damaged, and ``on_error`` is ``raise``.
            UnreadableVideoError: The container ends in an error, or the stream ends before its first I-frame.
            UnsupportedStreamError: The stream uses an unsupported coding tool.
        """
        began = False
        for picture in self._pictures():
            try:
                frame = self._read(picture)
            except BitstreamError as error:
                self._skip(error)
                continue
            if frame is not None:
                began = True
                yield frame
        if not began:
            cause = "it ended before the first I-frame with a sequence header"
            raise UnreadableVideoError(self._source.name, cause, FETCH_AGAIN)

    def _pictures(self) -> Iterator[StreamPicture]:
        for packet in self._source.packets:
            try:
                yield from self._parser.read(packet)
            except BitstreamError as error:
                self._skip(error)
        yield from self._parser.finish()

    def _skip(self, error: BitstreamError) -> None:
        """Drop frames up to the next I-frame, or raise the error."""
        if self._on_error == "raise":
            raise error
        if not self.damaged:
            log.warning("skipped up to the next I-frame (on_error=skip): %s", error)
        self.damaged += 1
        self._image = None

    def _read(self, picture: StreamPicture) -> StreamFrame | None:
        if picture.kind == "I":
            return self._iframe(picture)
        return None if self._image is None else self._pframe(picture, self._image)

    def _iframe(self, picture: StreamPicture) -> StreamFrame:
        image = np.zeros((1, 3, *self._size), np.uint8)
        if "iframes" in self._modalities:
            geometry.to_planes(picture.decode(self._size), image[0])
        self._image, self._iframe_number, self._since_iframe = image, picture.number, 0
        return StreamFrame("I", picture.number, picture.seconds, 0, self._clip(image, 0))

    def _pframe(self, picture: StreamPicture, image: npt.NDArray[np.uint8]) -> StreamFrame:
        step = self._since_iframe % self._stride
        self._since_iframe += 1
        arrays = None
        if step < self._pframes:
            arrays = self._clip(image, 1)
            self._fill(arrays, picture)
        return StreamFrame("P", picture.number, picture.seconds, step, arrays)

    def _clip(self, image: npt.NDArray[np.uint8], pframes: int) -> ClipArrays:
        return ClipArrays.without_pframes(image, np.zeros(1, np.int64), pframes, self._coefficients, "block")

    def _fill(self, arrays: ClipArrays, picture: StreamPicture) -> None:
        motion, residual, modes = arrays.motion[0], arrays.residual[0], arrays.modes[0]
        if "motion" not in self._modalities:
            motion = motion[:, :0]
        if "residual" not in self._modalities:
            residual = residual[:, :0]
        kept = self._coefficients if "residual" in self._modalities else _FEWEST
        picture.fill(kept, self._grid_of(picture.size), BlockFields(motion, residual, modes))
        arrays.mask[:], arrays.age[:] = True, picture.number - self._iframe_number

    def _grid_of(self, frame_size: tuple[int, int]) -> BlockGrid:
        if self._grid is None or self._grid[0] != frame_size:
            grid = FieldMaker(frame_size, 0, self._size, "block", self._coefficients, False).block_grid
            assert grid is not None
            self._grid = frame_size, grid
        return self._grid[1]
