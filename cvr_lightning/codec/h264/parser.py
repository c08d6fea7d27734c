"""H.264 video: each P-frame from its own bits, each I-frame decoded from its own packet.

The index holds the parameter sets in force for each frame and how far back its references lie, so no other
packet is touched.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property, lru_cache

import numpy as np
import numpy.typing as npt

from cvr_lightning.codec.arrays import Modality
from cvr_lightning.codec.bitstream_parser import BitstreamParser
from cvr_lightning.codec.container.index import PacketIndex
from cvr_lightning.codec.errors import FETCH_AGAIN, PREPARE, BitstreamError, UnsupportedStreamError
from cvr_lightning.codec.h264.colocated import (
    Motion,
    colocated_distances,
    colocated_of,
    in_decoding_order,
    motion_of,
)
from cvr_lightning.codec.h264.iframes import check_whole, decode_iframe
from cvr_lightning.codec.h264.macroblocks import (
    Coded,
    DamagedPictureError,
    Macroblocks,
    Stream,
    read_fields,
    read_macroblocks,
)
from cvr_lightning.codec.h264.parameter_sets import PictureParameters, SequenceParameters, unread_tool
from cvr_lightning.codec.h264.parameters import parameter_units, read_pair, read_sets, scales_of
from cvr_lightning.codec.h264.slice_lists import read_slice_lists
from cvr_lightning.codec.limits import PIXELS
from cvr_lightning.codec.parser import BlockFields, BlockGrid

_KEPT_HEADERS = 64


def unread_tools(index: PacketIndex) -> str:
    """Why this parser does not read a stream; empty where it does."""
    if index.codec != "h264":
        return f"the codec is {index.codec}, not H.264"
    strange = set(index.frame_kinds.tobytes().translate(None, b"IPB").decode())
    size = (index.facts.width, index.facts.height)
    shapes = set()
    for header in index.sequence_headers:
        sets = read_sets(header)
        if not sets.pairs:
            return "its parameter sets cannot be read"
        for pair in sets.pairs:
            sequence, picture = read_pair(*pair)
            cause = unread_pair(sequence, picture)
            if cause:
                return cause
            shapes.add((sequence.columns, sequence.rows))
            shown = shown_size(sequence)
            if shown != size:
                return f"frames of {shown[0]}x{shown[1]} in a stream of {size[0]}x{size[1]}"
    if len(shapes) != 1:
        return "frames of several sizes"
    return f"frames of type {', '.join(sorted(strange))}" if strange else ""


def unread_pair(sequence: SequenceParameters, picture: PictureParameters) -> str:
    """Why pictures with these parameter sets are not read; empty where they are."""
    cause = unread_tool(sequence, picture)
    if not cause and 256 * sequence.columns * sequence.rows > PIXELS.value:
        cause = f"frames of {16 * sequence.columns}x{16 * sequence.rows} pixels"
    if not cause and (sequence.crop[0] or sequence.crop[2]):
        cause = "frames cropped at their left or top: their blocks lie off the grid of 8x8"
    return cause


def shown_size(sequence: SequenceParameters) -> tuple[int, int]:
    """Width and height of the cropped frames."""
    left, right, top, bottom = sequence.crop
    return 16 * sequence.columns - left - right, 16 * sequence.rows - top - bottom


@lru_cache(maxsize=_KEPT_HEADERS)
def stream_of(headers: tuple[bytes, ...]) -> Stream:
    """What the packets of a stream with these headers are read with."""
    prefix = parameter_units(headers[0])[0]
    rows, scales, places, count = [], [], [], 0
    for header in headers:
        sets = read_sets(header)
        rows.append(sets.rows)
        scales += [scales_of(*pair) for pair in sets.pairs]
        current = sets.places[-1]
        places.append(np.where(current >= 0, current + count, -1))
        count += len(sets.pairs)
    return Stream(prefix, np.concatenate(rows), np.stack(scales), np.stack(places))


class H264Parser(BitstreamParser):
    """Frames of one H.264 video; arguments and errors as for :class:`BitstreamParser`."""

    name = "h264"
    standard = "H.264"
    reason = "H.264: modes, vectors and coefficients parsed from each P-frame's own bits, exactly"
    unread_tools = staticmethod(unread_tools)

    @cached_property
    def _stream(self) -> Stream:
        return stream_of(tuple(self._index.sequence_headers))

    @cached_property
    def _sequence(self) -> SequenceParameters:
        return read_pair(*read_sets(self._index.sequence_headers[0]).pairs[0])[0]

    @property
    def _shape(self) -> tuple[int, int]:
        return self._sequence.rows, self._sequence.columns

    def require(self, modalities: Sequence[Modality], accumulate: bool = False) -> None:
        """See :meth:`cvr_lightning.codec.parser.Parser.require`: every modality is there."""
        if accumulate:
            cause = (
                "H.264: a P-frame may be predicted from any earlier frame, so fields cannot be accumulated"
            )
            raise UnsupportedStreamError(self._demuxer.path, cause, PREPARE)

    def _decode(self, frame: int, size: tuple[int, int]) -> npt.NDArray[np.uint8] | None:
        prefix, units = parameter_units(self._header(frame))
        coded = self._coded(frame)
        self._check(frame, coded)
        return decode_iframe(coded.data, prefix, units, self._index.facts.colors, size)

    def _check(self, frame: int, coded: Coded) -> None:
        try:
            check_whole(coded, self._stream, self._shape)
        except DamagedPictureError as fault:
            raise self._damage(frame, fault) from fault

    def fill(
        self,
        frames: Sequence[int],
        slots: Sequence[int],
        coefficients: tuple[int, int] | None,
        grid: BlockGrid,
        fields: BlockFields,
    ) -> None:
        """See :meth:`cvr_lightning.codec.parser.Parser.fill`: one call that releases the GIL."""
        if frames:
            coded = [self._coded(frame) for frame in frames]
            self._read(frames, coded, slots, coefficients or (0, 0), grid, fields)

    def parse(self, frame: int) -> Macroblocks:
        """All macroblocks of one frame, see :meth:`cvr_lightning.codec.CompressedVideoReader.parse`."""
        self._check_number(frame)
        return self._parse(frame, self._coded(frame))

    def _parse(self, frame: int, coded: Coded) -> Macroblocks:
        kind = self._index.frame_types[frame]
        try:
            return read_macroblocks(coded, self._stream, self._shape, frame, kind)
        except DamagedPictureError as fault:
            raise self._damage(frame, fault) from fault

    def _read(
        self,
        frames: Sequence[int],
        coded: Sequence[Coded],
        slots: Sequence[int],
        coefficients: tuple[int, int],
        grid: BlockGrid,
        fields: BlockFields,
    ) -> None:
        try:
            read_fields(coded, self._stream, self._shape, slots, coefficients, grid, fields)
        except DamagedPictureError as fault:
            raise self._damage(frames[fault.number], fault) from fault

    def _coded(self, frame: int) -> Coded:
        """The packet of a frame and what it is read with; for B slices, earlier frames are parsed too."""
        coded = self._packet(frame)
        if not colocated_distances(coded.lists):
            return coded
        needed = in_decoding_order(frame, self._referred, self._order)
        last_use = {other: number for number in needed for other in self._referred(number)}
        motions: dict[int, Motion] = {}
        for number in needed[:-1]:
            parsed = self._parse(number, self._with_colocated(number, motions))
            motions[number] = motion_of(parsed.motion, parsed.indices, number - parsed.references)
            motions = {other: motion for other, motion in motions.items() if last_use[other] != number}
        return self._with_colocated(frame, motions)

    def _with_colocated(self, frame: int, motions: Mapping[int, Motion]) -> Coded:
        coded = self._packet(frame)
        referred = self._referred(frame)
        if not referred:
            return coded
        distances = colocated_distances(coded.lists)
        chosen = {distance: motions[number] for distance, number in zip(distances, referred, strict=True)}
        return coded._replace(colocated=colocated_of(coded.lists, chosen))

    def _order(self, frame: int) -> int:
        return int(self._index.frame_sources[frame])

    @cached_property
    def _frame_at(self) -> dict[int, int]:
        """The frame of each place in display order among all pictures, of which some may be hidden."""
        return {place: frame for frame, place in enumerate(self._index.frame_times.tolist())}

    def _referred(self, frame: int) -> list[int]:
        """The frames that are first in a list 1 of a frame's slices."""
        lists = list(read_slice_lists(self._index.lists_of(frame)))
        place = int(self._index.frame_times[frame])
        found = [self._frame_at.get(place - distance, frame) for distance in colocated_distances(lists)]
        if any(self._order(other) >= self._order(frame) for other in found):
            raise self._demuxer.damage("it is predicted from a picture that is not in the stream", frame)
        return found

    def _packet(self, frame: int) -> Coded:
        """The packet of a frame and its reference lists."""
        index = self._index
        data = self._bytes(frame, 0, int(index.sizes[index.frame_sources[frame]]))
        lists = list(read_slice_lists(index.lists_of(frame)))
        if not lists:
            raise self._demuxer.damage("none of its slices can be read", frame)
        return Coded(data, int(index.frame_headers[frame]), lists)

    def _damage(self, frame: int, fault: DamagedPictureError) -> BitstreamError:
        return BitstreamError(
            self._demuxer.path, fault.cause, FETCH_AGAIN, frame, fault.macroblock, fault.bit
        )
