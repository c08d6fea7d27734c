"""H.264 as a stream: access units as they arrive, frames in display order.

A frame is passed on once its place in display order and those of its references are known, so its motion is
divided by the same distances as in a file.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

import av
import numpy as np
import numpy.typing as npt

from cvr_lightning.codec.bitstream.kernels import fault_parts
from cvr_lightning.codec.container.packets import PacketStream, StreamPacket
from cvr_lightning.codec.errors import (
    ENCODE_ON_THE_WAY,
    FETCH_AGAIN,
    BitstreamError,
    UnsupportedStreamError,
    reason,
)
from cvr_lightning.codec.h264.display_order import DisplayOrder, LatePictureError, Reordering
from cvr_lightning.codec.h264.faults import FAULTS
from cvr_lightning.codec.h264.header_scan import HeaderScan
from cvr_lightning.codec.h264.iframes import check_whole, decode_iframe, nal_units
from cvr_lightning.codec.h264.macroblocks import Coded, DamagedPictureError, Stream, read_fields
from cvr_lightning.codec.h264.nal import PARTITION_A, PARTITION_C
from cvr_lightning.codec.h264.parameters import pack_units, parameter_units, read_pair
from cvr_lightning.codec.h264.parser import shown_size, stream_of, unread_pair
from cvr_lightning.codec.h264.pictures import (
    C_EPOCH,
    C_FAULT,
    C_IDR,
    C_KIND,
    C_ORDER,
    C_ROW,
    C_START,
    LETTERS,
    NO_PICTURE,
)
from cvr_lightning.codec.h264.slice_header import I
from cvr_lightning.codec.h264.slice_lists import read_slice_lists
from cvr_lightning.codec.parser import BlockFields, BlockGrid

log = logging.getLogger(__name__)

_MOST_RANKS = 256


class _Sets(NamedTuple):
    """The parameter sets of a picture.

    Attributes:
        name: Name of the stream, for messages.
        colors: Of the container.
        header: The sets in force, packed.
        stream: The same for the kernels.
        shape: Rows and columns of macroblocks.
        size: (H, W) of the cropped frame.
        reordering: How far pictures are reordered.
    """

    name: str
    colors: tuple[int, int, int, int]
    header: bytes
    stream: Stream
    shape: tuple[int, int]
    size: tuple[int, int]
    reordering: Reordering


@dataclass(frozen=True)
class _Coded:
    """A picture in coded order.

    Attributes:
        packet: Its number among the packets.
        lists: Reference lists of its slices, as packet numbers.
    """

    packet: int
    kind: str
    epoch: int
    order: int
    idr: bool
    seconds: float | None
    data: bytes
    lists: npt.NDArray[np.int64]
    sets: _Sets

    def references(self) -> Iterator[tuple[int, int]]:
        """Places in ``lists`` and the packet numbers there."""
        place, values = 0, self.lists.tolist()
        while place < len(values):
            count = values[place] + values[place + 1]
            yield from enumerate(values[place + 2 : place + 2 + count], place + 2)
            place += 2 + (2 * count if values[place + 1] else count)


@dataclass(frozen=True)
class _Picture:
    """See :class:`cvr_lightning.codec.parser.StreamPicture`."""

    kind: Literal["I", "P"]
    number: int
    seconds: float | None
    coded: Coded
    sets: _Sets

    @property
    def size(self) -> tuple[int, int]:
        return self.sets.size

    def decode(self, size: tuple[int, int]) -> npt.NDArray[np.uint8]:
        try:
            check_whole(self.coded, self.sets.stream, self.sets.shape)
            prefix, units = parameter_units(self.sets.header)
            rgb = decode_iframe(self.coded.data, prefix, units, self.sets.colors, size)
        except DamagedPictureError as fault:
            raise self._damage(fault.cause, fault.macroblock, fault.bit) from fault
        except av.FFmpegError as error:
            raise self._damage(f"FFmpeg cannot decode it: {reason(error)}") from error
        if rgb is None:
            raise self._damage("FFmpeg does not decode it to one picture")
        return rgb

    def fill(self, coefficients: tuple[int, int], grid: BlockGrid, fields: BlockFields) -> None:
        try:
            read_fields([self.coded], self.sets.stream, self.sets.shape, [0], coefficients, grid, fields)
        except DamagedPictureError as fault:
            raise self._damage(fault.cause, fault.macroblock, fault.bit) from fault

    def _damage(self, cause: str, macroblock: int | None = None, bit: int | None = None) -> BitstreamError:
        return BitstreamError(self.sets.name, cause, FETCH_AGAIN, self.number, macroblock, bit)


class H264Stream:
    """Frames of an H.264 stream, see :class:`cvr_lightning.codec.parser.StreamParser`.

    A packet holds one access unit. Nothing is passed on before the first I-frame at which decoding can begin:
    an IDR picture, or a recovery point.

    Args:
        source: The stream.
    """

    def __init__(self, source: PacketStream) -> None:
        self._source = source
        self._scan = HeaderScan(source.header)
        self._order = DisplayOrder[_Coded]()
        self._shown = deque[tuple[int, _Coded]]()  # in display order, with their frame numbers
        self._numbers: dict[int, int] = {}  # frame numbers of packets
        self._packets = self._frames = 0
        self._joined = False
        self._sets: tuple[tuple[bytes, ...], tuple[bytes, bytes], _Sets] | None = None

    def read(self, packet: StreamPacket) -> Iterator[_Picture]:
        """Take the next packet."""
        picture = self._read(packet)
        if picture is None:
            return
        try:
            shown = self._order.add(picture, picture.sets.reordering)
        except LatePictureError as error:
            raise self._damage("it is to be shown before a frame that has been delivered") from error
        self._number(shown)
        yield from self._ready()

    def finish(self) -> Iterator[_Picture]:
        """The frames that waited for others."""
        self._number(self._order.flush())
        yield from self._ready()

    def _read(self, packet: StreamPacket) -> _Coded | None:
        """Read the headers of a packet; None if it holds no picture, or comes before the first I-frame."""
        if packet.damaged:
            raise self._damage("its packet is cut short or damaged")
        row, lists = self._scan.read(packet.data)
        number, self._packets = self._packets, self._packets + 1
        kind = int(row[C_KIND])
        if not self._joined and not (row[C_START] and kind == I):
            self._refuse_unread(int(row[C_ROW]))
            return None
        if row[C_FAULT]:
            self._refuse_unread(int(row[C_ROW]))
            raise self._damage(FAULTS[fault_parts(int(row[C_FAULT]))[0]])
        if kind == NO_PICTURE:
            self._refuse_partitions(packet.data)
            return None
        if not self._joined and number:
            log.warning(
                "%s: joined in the middle: %d packets before the first I-frame are left out",
                self._source.name,
                number,
            )
        self._joined = True
        return _Coded(
            number, LETTERS[kind].decode(), int(row[C_EPOCH]), int(row[C_ORDER]), bool(row[C_IDR]),
            packet.seconds, packet.data, lists, self._sets_of(int(row[C_ROW])),
        )  # fmt: skip

    def _refuse_unread(self, row: int) -> None:
        """Refuse parameter sets with tools that are not read: one pair, or all where ``row`` is -1."""
        pairs = self._scan.parameters.pairs
        for pair in pairs if row < 0 else pairs[row : row + 1]:
            cause = unread_pair(*read_pair(*pair))
            if cause:
                raise UnsupportedStreamError(self._source.name, f"not read: {cause}", ENCODE_ON_THE_WAY)

    def _refuse_partitions(self, data: bytes) -> None:
        if any(PARTITION_A <= unit[0] & 31 <= PARTITION_C for unit in nal_units(data, self._scan.prefix)):
            cause = "not read: data partitioning"
            raise UnsupportedStreamError(self._source.name, cause, ENCODE_ON_THE_WAY)

    def _sets_of(self, row: int) -> _Sets:
        """The parameter sets in force for a picture whose pair has a row."""
        units, pair = self._scan.parameters.units[-1], self._scan.parameters.pairs[row]
        if self._sets is None or self._sets[:2] != (units, pair):
            self._refuse_unread(row)
            sequence, _ = read_pair(*pair)
            header = pack_units(self._scan.prefix, units)
            width, height = shown_size(sequence)
            sets = _Sets(
                self._source.name, self._source.colors, header, stream_of((header,)),
                (sequence.rows, sequence.columns), (height, width), sequence.reordering,
            )  # fmt: skip
            self._sets = units, pair, sets
        return self._sets[2]

    def _number(self, shown: list[_Coded]) -> None:
        """Number frames in display order."""
        for picture in shown:
            self._numbers[picture.packet] = self._frames
            if picture.kind != "B":
                self._shown.append((self._frames, picture))
            self._frames += 1
        if len(self._numbers) > _MOST_RANKS:
            needed = self._scan.referable
            for _, held in self._shown:
                needed |= {packet for _, packet in held.references()}
            for held in self._order.waiting:
                needed |= {packet for _, packet in held.references()}
            self._numbers = {packet: n for packet, n in self._numbers.items() if packet in needed}

    def _ready(self) -> Iterator[_Picture]:
        """Frames whose references have frame numbers, in display order."""
        while self._shown:
            number, picture = self._shown[0]
            waiting = {other.packet for other in self._order.waiting}
            if any(packet in waiting for _, packet in picture.references()):
                return
            self._shown.popleft()
            distances = picture.lists.copy()
            for place, packet in picture.references():
                distances[place] = number - self._numbers.get(packet, number)
            coded = Coded(picture.data, 0, list(read_slice_lists(distances)))
            kind: Literal["I", "P"] = "I" if picture.kind == "I" else "P"
            yield _Picture(kind, number, picture.seconds, coded, picture.sets)

    def _damage(self, cause: str) -> BitstreamError:
        return BitstreamError(self._source.name, cause, FETCH_AGAIN, self._frames + len(self._order.waiting))
