"""Reads a compressed stream frame by frame, without an index or look-ahead."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import av
import numpy as np
import numpy.typing as npt

from cvr_lightning.codec.arrays import MODALITIES, ClipArrays, Modality
from cvr_lightning.codec.container.packets import PacketStream, StreamPacket
from cvr_lightning.codec.errors import (
    FETCH_AGAIN,
    BitstreamError,
    UnreadableVideoError,
    UnsupportedStreamError,
    reason,
)
from cvr_lightning.codec.fields import geometry
from cvr_lightning.codec.fields.delivery import FieldMaker
from cvr_lightning.codec.mpeg4.headers import SequenceHeaders
from cvr_lightning.codec.mpeg4.iframes import Coding, decode_iframe
from cvr_lightning.codec.mpeg4.macroblocks import Layer
from cvr_lightning.codec.mpeg4.parser import read_layer, unread_tool
from cvr_lightning.codec.mpeg4.pframes import DamagedPFrameError, parse_pframes
from cvr_lightning.codec.mpeg4.vop_header import VOP_START, VideoObjectPlane, vops
from cvr_lightning.codec.parser import BlockFields, BlockGrid

log = logging.getLogger(__name__)

OnError = Literal["raise", "skip"]
ENCODE_ON_THE_WAY = (
    "encode it on the way: ffmpeg -i IN -vf scale=340:256,setsar=1:1 -q:v 1 -c:v mpeg4 -f avi - | cvr watch -"
)
"""Advice for a stream that is not MPEG-4 Part 2."""
_LITTLE = (1, 1)  # coefficients parsed if none are requested


@dataclass(frozen=True)
class StreamFrame:
    """An I- or P-frame.

    Attributes:
        kind: ``"I"`` or ``"P"``.
        number: Index among the coded pictures of the stream, from 0.
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


@dataclass(frozen=True)
class _Sequence:
    """State that is valid from one sequence header to the next."""

    coding: Coding
    layer: Layer
    grid: BlockGrid


class CompressedStream:
    """Reads I- and P-frames of MPEG-4 Part 2 video as packets arrive, in block representation.

    Segments are assigned without look-ahead: one starts at the first P-frame after each I-frame and at every
    ``stride``-th P-frame from there. It takes ``pframes`` P-frames, fewer if an I-frame arrives. P-frames
    between segments are not parsed. B-frames are skipped, since no frame is predicted from them, as is
    everything before the first I-frame with a sequence header.

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
        damaged: Number of damaged packets skipped.

    Raises:
        UnsupportedStreamError: The codec is not MPEG-4 Part 2.
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
        if packets.codec != "mpeg4":
            cause = f"its codec is {packets.codec}; streams must be MPEG-4 Part 2"
            raise UnsupportedStreamError(packets.name, cause, ENCODE_ON_THE_WAY)
        self.damaged = 0
        self._source = packets
        self._pframes, self._stride = pframes, stride
        self._size, self._coefficients = size, coefficients
        self._modalities = frozenset(modalities)
        self._on_error = on_error
        self._headers = SequenceHeaders(packets.header)
        self._sequence: _Sequence | None = None
        self._next = 0  # number of the next picture
        self._image: npt.NDArray[np.uint8] | None = None  # current I-frame, None until one arrives
        self._since_iframe = 0  # P-frames

    def __iter__(self) -> Iterator[StreamFrame]:
        """Yield the frames as they arrive; can be iterated once.

        Raises:
            BitstreamError: A packet is damaged, and ``on_error`` is ``raise``.
            UnreadableVideoError: The container ends in an error, or the stream ends before its first I-frame.
            UnsupportedStreamError: The stream uses an unsupported coding tool.
        """
        began = False
        for packet in self._source.packets:
            try:
                for frame in self._read(packet):
                    began = True
                    yield frame
            except BitstreamError as error:
                if self._on_error == "raise":
                    raise
                if not self.damaged:
                    log.warning("skipped up to the next I-frame (on_error=skip): %s", error)
                self.damaged += 1
                self._image = None
        if not began:
            cause = "it ended before the first I-frame with a sequence header"
            raise UnreadableVideoError(self._source.name, cause, FETCH_AGAIN)

    def _read(self, packet: StreamPacket) -> Iterator[StreamFrame]:
        if packet.damaged:
            raise self._damage("its packet is cut short or damaged", self._next)
        data = packet.data
        start = data.find(VOP_START)
        self._headers.read(data if start < 0 else data[:start])
        if self._headers.vol is None:
            return
        sequence = self._sequence_in_force()
        found = list(vops(data, sequence.layer.vol))
        for start, size, header in found if self._headers.packed else found[:1]:
            if header.kind == "N":
                continue
            number, self._next = self._next, self._next + 1
            vop = data[start : start + size]
            if header.kind == "I":
                yield self._iframe(number, packet.seconds, vop, sequence)
            elif header.kind == "P" and self._image is not None:
                yield self._pframe(number, packet.seconds, vop, start, header, sequence)

    def _sequence_in_force(self) -> _Sequence:
        if self._sequence is not None and self._sequence.coding.header == self._headers.header:
            return self._sequence
        layer = read_layer(self._headers.header)
        cause = unread_tool(layer.vol)
        if cause:
            raise UnsupportedStreamError(self._source.name, f"not read: {cause}", ENCODE_ON_THE_WAY)
        height, width = layer.vol.height, layer.vol.width
        grid = FieldMaker((height, width), 0, self._size, "block", self._coefficients, False).block_grid
        assert grid is not None
        self._sequence = _Sequence(
            Coding(self._source.codec_tag, width, height, self._headers.header), layer, grid
        )
        return self._sequence

    def _iframe(self, number: int, seconds: float | None, vop: bytes, sequence: _Sequence) -> StreamFrame:
        image = np.zeros((1, 3, *self._size), np.uint8)
        if "iframes" in self._modalities:
            try:
                rgb = decode_iframe(vop, sequence.coding, self._size)
            except av.FFmpegError as error:
                raise self._damage(f"FFmpeg cannot decode it: {reason(error)}", number) from error
            if rgb is None:
                raise self._damage("FFmpeg does not decode it to one sound picture", number)
            geometry.to_planes(rgb, image[0])
        self._image, self._since_iframe = image, 0
        return StreamFrame("I", number, seconds, 0, self._clip(image, 0))

    def _pframe(
        self,
        number: int,
        seconds: float | None,
        vop: bytes,
        start: int,
        header: VideoObjectPlane,
        sequence: _Sequence,
    ) -> StreamFrame:
        assert self._image is not None
        step = self._since_iframe % self._stride
        self._since_iframe += 1
        if step >= self._pframes:
            return StreamFrame("P", number, seconds, step, None)
        arrays = self._clip(self._image, 1)
        try:
            self._fill(arrays, vop, header, sequence)
        except DamagedPFrameError as error:
            fault = error.damage
            raise self._damage(fault.cause, number, fault.macroblock, 8 * start + fault.bit) from error
        return StreamFrame("P", number, seconds, step, arrays)

    def _clip(self, image: npt.NDArray[np.uint8], pframes: int) -> ClipArrays:
        return ClipArrays.without_pframes(image, np.zeros(1, np.int64), pframes, self._coefficients, "block")

    def _fill(self, arrays: ClipArrays, vop: bytes, header: VideoObjectPlane, sequence: _Sequence) -> None:
        motion, residual, modes = arrays.motion[0], arrays.residual[0], arrays.modes[0]
        if "motion" not in self._modalities:
            motion = motion[:, :0]
        if "residual" not in self._modalities:
            residual = residual[:, :0]
        kept = self._coefficients if "residual" in self._modalities else _LITTLE
        fields = BlockFields(motion, residual, modes)
        parse_pframes([(vop, sequence.layer, header)], [0], kept, sequence.grid, fields)
        arrays.mask[:] = True

    def _damage(
        self, cause: str, frame: int | None = None, macroblock: int | None = None, bit: int | None = None
    ) -> BitstreamError:
        return BitstreamError(self._source.name, cause, FETCH_AGAIN, frame, macroblock, bit)
