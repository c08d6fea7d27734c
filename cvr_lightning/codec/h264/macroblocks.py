"""Pictures from their packets: all macroblocks of one, or the fields of several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from cvr_lightning.codec.bitstream.compiling import call
from cvr_lightning.codec.bitstream.kernels import fault_parts, word_buffer
from cvr_lightning.codec.bitstream.references import REFERENCE_WORDS, pin
from cvr_lightning.codec.h264 import state
from cvr_lightning.codec.h264.cabac_b_slices import read_cabac_b_packets
from cvr_lightning.codec.h264.cabac_packets import read_cabac_packets
from cvr_lightning.codec.h264.cavlc_b_slices import read_cavlc_b_packets
from cvr_lightning.codec.h264.cavlc_packets import read_cavlc_packets
from cvr_lightning.codec.h264.delivery import Fields, Sink, new_sink
from cvr_lightning.codec.h264.direct import Colocated
from cvr_lightning.codec.h264.faults import FAULTS, MISSING_REFERENCE
from cvr_lightning.codec.h264.packets import (
    CABAC,
    CABAC_B,
    CAVLC,
    CAVLC_B,
    DONE,
    P_BEGIN,
    P_PACKET,
    Batch,
    Room,
)
from cvr_lightning.codec.h264.slice_header import header_buffers
from cvr_lightning.codec.h264.slice_lists import SliceLists
from cvr_lightning.codec.parser import BlockFields, BlockGrid

_HEADER_BYTES = 4096
_READERS = {CAVLC: read_cavlc_packets, CABAC: read_cabac_packets}
_B_READERS = {CAVLC_B: read_cavlc_b_packets, CABAC_B: read_cabac_b_packets}


class MacroblockKind(IntEnum):
    """How a macroblock is coded."""

    SKIPPED = state.SKIPPED
    INTER_16X16 = state.INTER_16X16
    INTER_16X8 = state.INTER_16X8
    INTER_8X16 = state.INTER_8X16
    INTER_8X8 = state.INTER_8X8
    DIRECT = state.DIRECT
    INTRA_4X4 = state.INTRA_4X4
    INTRA_8X8 = state.INTRA_8X8
    INTRA_16X16 = state.INTRA_16X16
    PCM = state.PCM


@dataclass(frozen=True)
class Macroblocks:
    """All that the macroblocks of a picture say, on the grid of M x N whole macroblocks.

    Attributes:
        frame_type: I, P or B.
        kinds: (M, N) uint8, a :class:`MacroblockKind` each.
        motion: (2, 4 M, 4 N, 2) int16, vector (x, y) in quarter samples from each 4x4 block to its reference
            in list 0 and list 1; 0 where there is none.
        indices: (2, 2 M, 2 N) int8, ref_idx of each 8x8 block, -1 where the list is not used.
        references: (2, 2 M, 2 N) int64, display number of the reference, -1 where the list is not used.
        quantizer: (M, N) uint8, QP of luma; 0 of PCM.
        transform_8x8: (M, N) bool.
        modes_4x4: (M, N, 16) int8, Intra4x4PredMode or Intra8x8PredMode of the 4x4 blocks in raster order, 0
            in others.
        modes_16x16: (M, N) uint8, Intra16x16PredMode.
        modes_chroma: (M, N) uint8, intra_chroma_pred_mode.
        coefficients: (M, N, 384) int32, scaled coefficients as the inverse transforms take them: luma blocks
            in decoding order, 16 or 64 in raster order each, then four 4x4 blocks of Cb and of Cr; the
            samples of the four 8x8 blocks of PCM, of Cb and of Cr.
        slices: (M, N) int32, number of the slice.
    """

    frame_type: str
    kinds: npt.NDArray[np.uint8]
    motion: npt.NDArray[np.int16]
    indices: npt.NDArray[np.int8]
    references: npt.NDArray[np.int64]
    quantizer: npt.NDArray[np.uint8]
    transform_8x8: npt.NDArray[np.bool_]
    modes_4x4: npt.NDArray[np.int8]
    modes_16x16: npt.NDArray[np.uint8]
    modes_chroma: npt.NDArray[np.uint8]
    coefficients: npt.NDArray[np.int32]
    slices: npt.NDArray[np.int32]


class Coded(NamedTuple):
    """A packet and what it is read with.

    Attributes:
        data: The packet.
        context: Number of the parameter sets in force.
        lists: The reference lists of its slices.
        colocated: What its B slices infer vectors from, None without any.
    """

    data: bytes
    context: int
    lists: Sequence[SliceLists]
    colocated: Colocated | None = None


class Stream(NamedTuple):
    """What the packets of a stream are read with, see :class:`~cvr_lightning.codec.h264.packets.Batch`."""

    prefix: int
    rows: npt.NDArray[np.int64]
    scales: npt.NDArray[np.int64]
    places: npt.NDArray[np.int64]


class DamagedPictureError(Exception):
    """A picture breaks the syntax.

    Args:
        cause: What is wrong.
        macroblock: Number of the macroblock in raster order.
        bit: Bit position in the packet.
        number: Which of several packets it is.
    """

    def __init__(self, cause: str, macroblock: int, bit: int, number: int) -> None:
        super().__init__(cause, macroblock, bit, number)
        self.cause, self.macroblock, self.bit, self.number = cause, macroblock, bit, number


def _batch(coded: Sequence[Coded], stream: Stream) -> Batch:
    return Batch(
        np.frombuffer(b"".join(item.data for item in coded), np.uint8),
        np.cumsum([len(item.data) for item in coded]),
        np.array([item.context for item in coded]),
        *stream,
        np.stack([lists.distances for item in coded for lists in item.lists]),
        np.cumsum([0, *(len(item.lists) for item in coded)]),
        np.array([0, -1, 0, 0, 0, 0], np.int64),
    )


def _room(coded: Sequence[Coded], shape: tuple[int, int]) -> Room:
    size = max(_HEADER_BYTES, *(len(item.data) for item in coded))
    picture = state.new_picture(*shape, word_buffer(size))
    memory = np.empty((3, REFERENCE_WORDS), np.int64)
    return Room(picture, header_buffers(), np.empty(size, np.uint8), word_buffer(_HEADER_BYTES), memory)


def _read(batch: Batch, room: Room, sink: Sink, fields: Fields, colocated: Colocated | None) -> None:
    """Read all packets, changing over between the kinds of slices.

    Raises:
        DamagedPictureError: One is damaged.
    """
    for value, memory in zip((room.picture, sink, colocated), room.memory, strict=True):
        if value is not None:
            pin(value, memory)
    coming, macroblock = CABAC, 0
    while coming != DONE:
        if coming not in _B_READERS:
            coming, macroblock = call(_READERS[coming], batch, room, sink, fields)
        elif colocated is not None:
            coming, macroblock = call(_B_READERS[coming], batch, room, sink, fields, colocated)
        else:
            raise _damage(batch, MISSING_REFERENCE, 0, 0)
        if coming < 0:
            raise _damage(batch, *fault_parts(int(coming)), int(macroblock))


def _damage(batch: Batch, code: int, position: int, macroblock: int) -> DamagedPictureError:
    number = int(batch.progress[P_PACKET])
    return DamagedPictureError(FAULTS[code], macroblock, _packet_bit(batch, number, position), number)


def _packet_bit(batch: Batch, number: int, bit: int) -> int:
    """The bit of a packet at which a bit of its NAL unit in hand lies."""
    begin = int(batch.progress[P_BEGIN])
    first = int(batch.ends[number - 1]) if number else 0
    place = begin
    zeros, left = 0, bit >> 3
    while left and place < batch.ends[number]:
        byte = batch.data[place]
        place += 1
        if zeros >= 2 and byte == 3:
            zeros = 0
            continue
        zeros = zeros + 1 if byte == 0 else 0
        left -= 1
    return 8 * (place - first) + (bit & 7)


def read_fields(
    coded: Sequence[Coded],
    stream: Stream,
    shape: tuple[int, int],
    slots: Sequence[int],
    coefficients: tuple[int, int],
    grid: BlockGrid,
    out: BlockFields,
) -> None:
    """Read P-pictures of one video, each into its slot of ``out``.

    Args:
        coded: The packets; there is one at least.
        stream: What they are read with.
        shape: (M, N) macroblocks of each.
        slots: The slot of each.
        coefficients: Kept of luma and of each chroma; (0, 0) where no residual is asked for.
        grid: The blocks to deliver.
        out: Zeros to fill.

    Raises:
        DamagedPictureError: A packet is damaged; ``out`` is partly filled.
    """
    sink = new_sink(shape[0] * shape[1], coefficients, exact=False)
    room = _room(coded, shape)
    for group in _groups(coded):
        places = np.array([slots[number] for number in group])
        fields = Fields(grid.rows, grid.columns, grid.scale, places, out.motion, out.residual, out.modes)
        chosen = [coded[number] for number in group]
        try:
            _read(_batch(chosen, stream), room, sink, fields, chosen[0].colocated)
        except DamagedPictureError as damage:
            raise DamagedPictureError(
                damage.cause, damage.macroblock, damage.bit, group[damage.number]
            ) from damage


def _groups(coded: Sequence[Coded]) -> list[list[int]]:
    """Packets to read together: all without B slices, and each of the others by itself."""
    plain = [number for number, item in enumerate(coded) if item.colocated is None]
    others = [[number] for number, item in enumerate(coded) if item.colocated is not None]
    return [plain, *others] if plain else others


def read_macroblocks(
    coded: Coded, stream: Stream, shape: tuple[int, int], frame: int, frame_type: str
) -> Macroblocks:
    """Read all macroblocks of a picture.

    Args:
        coded: The packet.
        stream: What it is read with.
        shape: (M, N) macroblocks.
        frame: Its display number.
        frame_type: Its type.

    Raises:
        DamagedPictureError: It is damaged.
    """
    room, sink = _room([coded], shape), new_sink(shape[0] * shape[1], (0, 0), exact=True)
    none = np.empty(0, np.int64)
    nothing = np.empty((0, 0, 0, 0), np.float32)
    fields = Fields(
        none, none, np.ones(2, np.float32), np.array([-1]), nothing, nothing, np.empty((0, 0, 0), np.uint8)
    )
    batch = _batch([coded], stream)
    _read(batch, room, sink, fields, coded.colocated)
    picture = room.picture
    table = picture.macroblocks
    slices = table[:, state.M_SLICE].reshape(shape)
    which, row, column = np.indices(picture.references.shape)
    distances = batch.distances[slices[row >> 1, column >> 1], which, picture.references]

    def column_of(place: int) -> npt.NDArray[np.uint8]:
        return table[:, place].astype(np.uint8).reshape(shape)

    return Macroblocks(
        frame_type=frame_type,
        kinds=column_of(state.M_KIND),
        motion=picture.motion,
        indices=picture.references,
        references=np.where(picture.references >= 0, frame - distances, -1),
        quantizer=column_of(state.M_QUANTIZER),
        transform_8x8=table[:, state.M_TRANSFORM].astype(bool).reshape(shape),
        modes_4x4=picture.modes.reshape(*shape, 16),
        modes_16x16=column_of(state.M_MODE),
        modes_chroma=column_of(state.M_CHROMA_MODE),
        coefficients=sink.exact.reshape(*shape, state.COEFFICIENTS),
        slices=slices,
    )
