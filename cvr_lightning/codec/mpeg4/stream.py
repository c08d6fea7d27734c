"""MPEG-4 Part 2 as a stream: each packet gives its frames at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import av
import numpy as np
import numpy.typing as npt

from cvr_lightning.codec.container.packets import PacketStream, StreamPacket
from cvr_lightning.codec.errors import (
    ENCODE_ON_THE_WAY,
    FETCH_AGAIN,
    BitstreamError,
    UnsupportedStreamError,
    reason,
)
from cvr_lightning.codec.mpeg4.headers import SequenceHeaders
from cvr_lightning.codec.mpeg4.iframes import Coding, decode_iframe
from cvr_lightning.codec.mpeg4.macroblocks import Layer
from cvr_lightning.codec.mpeg4.parser import read_layer, unread_tool
from cvr_lightning.codec.mpeg4.pframes import DamagedPFrameError, parse_pframes
from cvr_lightning.codec.mpeg4.vop_header import VOP_START, VideoObjectPlane, vops
from cvr_lightning.codec.parser import BlockFields, BlockGrid


@dataclass(frozen=True)
class _Sequence:
    """State that is valid from one sequence header to the next."""

    name: str
    coding: Coding
    layer: Layer


@dataclass(frozen=True)
class _Picture:
    """See :class:`cvr_lightning.codec.parser.StreamPicture`."""

    kind: Literal["I", "P"]
    number: int
    seconds: float | None
    vop: bytes
    start: int  # of the VOP in its packet
    header: VideoObjectPlane
    sequence: _Sequence

    @property
    def size(self) -> tuple[int, int]:
        return self.sequence.layer.vol.height, self.sequence.layer.vol.width

    def decode(self, size: tuple[int, int]) -> npt.NDArray[np.uint8]:
        try:
            rgb = decode_iframe(self.vop, self.sequence.coding, size)
        except av.FFmpegError as error:
            raise self._damage(f"FFmpeg cannot decode it: {reason(error)}") from error
        if rgb is None:
            raise self._damage("FFmpeg does not decode it to one picture")
        return rgb

    def fill(self, coefficients: tuple[int, int], grid: BlockGrid, fields: BlockFields) -> None:
        try:
            parse_pframes([(self.vop, self.sequence.layer, self.header)], [0], coefficients, grid, fields)
        except DamagedPFrameError as error:
            fault = error.damage
            raise self._damage(fault.cause, fault.macroblock, 8 * self.start + fault.bit) from error

    def _damage(self, cause: str, macroblock: int | None = None, bit: int | None = None) -> BitstreamError:
        return BitstreamError(self.sequence.name, cause, FETCH_AGAIN, self.number, macroblock, bit)


class Mpeg4Stream:
    """Frames of an MPEG-4 Part 2 stream, see :class:`cvr_lightning.codec.parser.StreamParser`.

    B-frames are skipped, since no frame is predicted from them; so the order is the coded order.

    Args:
        source: The stream.
    """

    def __init__(self, source: PacketStream) -> None:
        self._source = source
        self._headers = SequenceHeaders(source.header)
        self._sequence: _Sequence | None = None
        self._next = 0  # number of the next picture

    def read(self, packet: StreamPacket) -> Iterator[_Picture]:
        """Take the next packet."""
        if packet.damaged:
            cause = "its packet is cut short or damaged"
            raise BitstreamError(self._source.name, cause, FETCH_AGAIN, self._next)
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
            if header.kind in ("I", "P"):
                kind: Literal["I", "P"] = "I" if header.kind == "I" else "P"
                vop = data[start : start + size]
                yield _Picture(kind, number, packet.seconds, vop, start, header, sequence)

    def finish(self) -> Iterator[_Picture]:
        """No frame is held back."""
        return iter(())

    def _sequence_in_force(self) -> _Sequence:
        header = self._headers.header
        if self._sequence is None or self._sequence.coding.header != header:
            layer = read_layer(header)
            cause = unread_tool(layer.vol)
            if cause:
                raise UnsupportedStreamError(self._source.name, f"not read: {cause}", ENCODE_ON_THE_WAY)
            coding = Coding(self._source.codec_tag, layer.vol.width, layer.vol.height, header)
            self._sequence = _Sequence(self._source.name, coding, layer)
        return self._sequence
