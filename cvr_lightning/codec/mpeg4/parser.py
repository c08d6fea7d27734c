"""Parser of MPEG-4 Part 2 video: P-frames from their bits, I-frames decoded from their packets.

The macroblock modes, vectors and coefficients of a P-frame depend only on its VOP, so no other frame is read
and no pixel is reconstructed. I-frames are decoded by PyAV, one VOP at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, lru_cache

import numpy as np
import numpy.typing as npt

from cvr_lightning.codec.arrays import Modality
from cvr_lightning.codec.bitstream_parser import BitstreamParser
from cvr_lightning.codec.container.index import PacketIndex
from cvr_lightning.codec.errors import (
    FETCH_AGAIN,
    BitstreamError,
    UnreadableVideoError,
)
from cvr_lightning.codec.fields.dct import COEFFICIENTS
from cvr_lightning.codec.limits import PIXELS
from cvr_lightning.codec.mpeg4 import headers
from cvr_lightning.codec.mpeg4.iframes import Coding, decode_iframe
from cvr_lightning.codec.mpeg4.macroblocks import DamagedVopError, Layer, Macroblocks, parse_vop
from cvr_lightning.codec.mpeg4.pframes import DamagedPFrameError, parse_pframes
from cvr_lightning.codec.mpeg4.vop_header import VOP_START, VideoObjectPlane, parse_vop_header
from cvr_lightning.codec.parser import BlockFields, BlockGrid

_FORMATS = ("yuv420p", "yuvj420p")
_KEPT_HEADERS = 16  # the files of a data set have few different ones
_LITTLE = 1  # coefficients kept if none are requested


def unread_tools(index: PacketIndex) -> str:
    """Why this parser does not support a stream; empty if it does."""
    if index.codec != "mpeg4":
        return f"the codec is {index.codec}, not MPEG-4 Part 2"
    if index.facts.pixel_format not in _FORMATS:
        return f"pixel format {index.facts.pixel_format}"
    size = (index.facts.width, index.facts.height)
    for header in index.sequence_headers:
        vol = _find_vol(header)
        if vol is None:
            return "no header of a video object layer (short video header)"
        cause = unread_tool(vol)
        if cause:
            return cause
        if (vol.width, vol.height) != size:
            return f"frames of {vol.width}x{vol.height} in a stream of {size[0]}x{size[1]}"
    strange = set(index.frame_kinds.tobytes().translate(None, b"IPB").decode())
    return f"frames of type {', '.join(sorted(strange))}" if strange else ""


def unread_tool(vol: headers.VideoObjectLayer) -> str:
    """A coding tool of a layer that this parser does not support; empty if it supports all."""
    if vol.unread:
        return vol.unread
    if not 0 < vol.width * vol.height <= PIXELS.value:
        return f"frames of {vol.width}x{vol.height} pixels"
    if vol.interlaced:
        return "interlaced coding: vectors may refer to fields"
    if vol.sprite:
        return "sprites or global motion compensation"
    return "data partitioning" if vol.partitioned else ""


@lru_cache(maxsize=_KEPT_HEADERS)
def _find_vol(header: bytes) -> headers.VideoObjectLayer | None:
    return headers.find_vol(header)


@lru_cache(maxsize=_KEPT_HEADERS)
def read_layer(header: bytes) -> Layer:
    """The layer of a sequence header with a VOL; cached, so it must not be modified."""
    vol = _find_vol(header)
    assert vol is not None
    return Layer(
        vol,
        np.array(vol.matrices or np.zeros((2, COEFFICIENTS)), np.int64),
        headers.predicts_unclipped_dc(header),
        headers.leaves_out_stuffing(header),
    )


class Mpeg4Parser(BitstreamParser):
    """Frames of one MPEG-4 Part 2 video; arguments and errors as for :class:`BitstreamParser`."""

    name = "mpeg4"
    standard = "MPEG-4"
    reason = "MPEG-4 Part 2: modes, vectors and coefficients parsed from each P-frame's own bits, exactly"
    unread_tools = staticmethod(unread_tools)

    @cached_property
    def _layers(self) -> list[Layer]:
        return [read_layer(header) for header in self._index.sequence_headers]

    def require(self, modalities: Sequence[Modality], accumulate: bool = False) -> None:
        """See :meth:`cvr_lightning.codec.parser.Parser.require`; all modalities are available."""

    def _decode(self, frame: int, size: tuple[int, int]) -> npt.NDArray[np.uint8] | None:
        facts = self._index.facts
        coding = Coding(facts.codec_tag, facts.width, facts.height, self._header(frame), facts.colors)
        return decode_iframe(self._vop(frame), coding, size)

    def fill(
        self,
        frames: Sequence[int],
        slots: Sequence[int],
        coefficients: tuple[int, int] | None,
        grid: BlockGrid,
        fields: BlockFields,
    ) -> None:
        """See :meth:`cvr_lightning.codec.parser.Parser.fill`; one call that releases the GIL."""
        if not frames:
            return
        vops = [self._read_vop(frame) for frame in frames]
        try:
            parse_pframes(vops, slots, coefficients or (_LITTLE, _LITTLE), grid, fields)
        except DamagedPFrameError as error:
            raise self._damage(frames[error.number], error.damage) from error

    def parse(self, frame: int) -> Macroblocks:
        """Parse all macroblocks of a frame, see :meth:`cvr_lightning.codec.CompressedVideoReader.parse`."""
        self._check_number(frame)
        return self._parse(frame, (COEFFICIENTS, COEFFICIENTS))

    def _parse(self, frame: int, kept: tuple[int, int]) -> Macroblocks:
        data, layer, header = self._read_vop(frame)
        colocated, ticks = None, (0, 0)
        if header.kind == "B":
            colocated, ticks = self._references(frame)
        try:
            return parse_vop(data, layer, header, kept, colocated, ticks)
        except DamagedVopError as fault:
            raise self._damage(frame, fault) from fault

    def _read_vop(self, frame: int) -> tuple[bytes, Layer, VideoObjectPlane]:
        """The VOP of a frame, its layer, and its header."""
        layer = self._layers[self._index.frame_headers[frame]]
        data = self._vop(frame)
        try:
            header = parse_vop_header(data, layer.vol)
        except EOFError as error:
            raise self._damage(frame, DamagedVopError(str(error), 0, 8 * len(data))) from error
        if header.kind != self._index.frame_types[frame]:
            raise self._demuxer.error(f"it is of type {header.kind}: the file has changed", frame)
        return data, layer, header

    def _references(self, frame: int) -> tuple[Macroblocks, tuple[int, int]]:
        """The future reference of a B-frame; ticks from the past one to the frame and to the future one."""
        types, times = self._index.frame_types, self._index.frame_times
        future, past = frame, frame
        while future < len(types) and types[future] == "B":
            future += 1
        while past >= 0 and types[past] == "B":
            past -= 1
        if past < 0 or future == len(types):
            raise self._demuxer.error("one of its references is missing", frame)
        ticks = (int(times[frame] - times[past]), int(times[future] - times[past]))
        return self._parse(future, (_LITTLE, _LITTLE)), ticks

    def _vop(self, frame: int) -> bytes:
        """The bytes of a frame's VOP."""
        offset, size = int(self._index.frame_offsets[frame]), int(self._index.frame_sizes[frame])
        data = self._bytes(frame, offset, size)
        if not data.startswith(VOP_START):
            raise self._changed(frame)
        return data

    def _damage(self, frame: int, fault: DamagedVopError) -> UnreadableVideoError:
        place = 8 * int(self._index.frame_offsets[frame]) + fault.bit
        return BitstreamError(self._demuxer.path, fault.cause, FETCH_AGAIN, frame, fault.macroblock, place)
