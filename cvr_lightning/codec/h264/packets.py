"""The macroblocks of packets: every slice of each picture, and whether they cover it."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from cvr_lightning.codec.bitstream.kernels import fault, subroutine
from cvr_lightning.codec.h264.delivery import Fields, Sink, clear_sink, deliver_picture
from cvr_lightning.codec.h264.faults import BAD_UNIT, NOT_COVERED
from cvr_lightning.codec.h264.nal import IDR_SLICE, SLICE, next_unit
from cvr_lightning.codec.h264.pictures import read_slice_start
from cvr_lightning.codec.h264.slice_header import H_PICTURE_SET, H_REDUNDANT, H_TYPE, Q_CABAC, B
from cvr_lightning.codec.h264.slices import begin_slice, load_slice
from cvr_lightning.codec.h264.state import M_SLICE, Picture, clear

DONE: Final = 0
CAVLC: Final = 1
CABAC: Final = 2
CAVLC_B: Final = 3
CABAC_B: Final = 4
"""What comes next: nothing, or a slice of that entropy coding, of I and P or of B macroblocks."""
(P_PACKET, P_POSITION, P_SLICES, P_WAITING, P_STOP, P_BEGIN) = range(6)
"""Of Batch.progress: the packet in hand; where its next NAL unit begins, -1 before the packet; slices so far;
the kind of a slice that is in hand but not read; its stop bit; the byte at which its NAL unit
begins."""


class Batch(NamedTuple):
    """Packets to read.

    Attributes:
        data: uint8, the packets one behind the other.
        ends: (P,) int64, where each of them ends.
        contexts: (P,) int64, the parameter sets in force.
        prefix: Bytes of a NAL unit's length prefix, 0 in Annex B form.
        rows: (R, PARAMETERS) pairs of parameter sets.
        scales: (R, 8, 6, 64) their LevelScale.
        places: (E, 256) row of each picture parameter set, for each state of the sets.
        distances: (S, 2, 32) int64, frames from the picture back to each of its references in display order,
            for each slice of all packets; 0 where the reference is missing.
        first_slices: (P,) int64, the first slice of each packet in ``distances``; its slices end at the next
            one's.
        progress: (6,) int64.
    """

    data: npt.NDArray[np.uint8]
    ends: npt.NDArray[np.int64]
    contexts: npt.NDArray[np.int64]
    prefix: int
    rows: npt.NDArray[np.int64]
    scales: npt.NDArray[np.int64]
    places: npt.NDArray[np.int64]
    distances: npt.NDArray[np.int64]
    first_slices: npt.NDArray[np.int64]
    progress: npt.NDArray[np.int64]


class Room(NamedTuple):
    """What packets are read in.

    Attributes:
        picture: The picture in hand.
        buffers: Of its slice headers, see :func:`~cvr_lightning.codec.h264.slice_header.header_buffers`.
        payload: uint8, a slice without emulation prevention.
        head: Words of a slice header.
        memory: (3, REFERENCE_WORDS) int64, where the picture, the sink and what B slices infer from are
            pinned.
    """

    picture: Picture
    buffers: tuple[npt.NDArray[np.int64], ...]
    payload: npt.NDArray[np.uint8]
    head: npt.NDArray[np.int64]
    memory: npt.NDArray[np.int64]


@subroutine
def _next_slice(batch, room, picture, position, packet):  # type: ignore[no-untyped-def]
    """Take the next slice of a packet: its kind or a fault, its stop bit, where to go on."""
    header = room.buffers[0]
    places = batch.places[batch.contexts[packet]]
    while True:
        begin, end, position = next_unit(batch.data, position, batch.ends[packet], batch.prefix)
        if begin == -2:
            return fault(BAD_UNIT, 0), np.int64(0), position
        if begin < 0:
            return np.int64(DONE), np.int64(0), position
        batch.progress[P_BEGIN] = begin
        kind = batch.data[begin] & 31
        if kind != SLICE and kind != IDR_SLICE:
            continue
        place = read_slice_start(
            batch.data, begin, end, batch.rows, places, room.buffers, room.payload, room.head
        )
        if place < 0:
            return place, np.int64(0), position
        if header[H_REDUNDANT]:
            continue
        row = places[header[H_PICTURE_SET]]
        number = batch.progress[P_SLICES]
        if number >= batch.first_slices[packet + 1] - batch.first_slices[packet]:
            return fault(BAD_UNIT, 0), np.int64(0), position
        begin_slice(picture, header, batch.rows[row], number, batch.scales[row])
        stop = load_slice(picture, batch.data, begin, end, room.payload)
        kind = CABAC if batch.rows[row, Q_CABAC] else CAVLC
        return np.int64(kind + 2 if header[H_TYPE] == B else kind), stop, position


@subroutine
def uncovered(picture):  # type: ignore[no-untyped-def]
    """The first macroblock that no slice covers, -1 without."""
    for n in range(len(picture.macroblocks)):
        if picture.macroblocks[n, M_SLICE] < 0:
            return n
    return -1


@subroutine
def advance(batch, room, picture, sink, fields):  # type: ignore[no-untyped-def]
    """Go to the next slice, finishing pictures on the way: what comes next or a fault, its macroblock."""
    progress = batch.progress
    if progress[P_WAITING]:
        return progress[P_WAITING], np.int64(0)
    while progress[P_PACKET] < len(batch.ends):
        packet = progress[P_PACKET]
        if progress[P_POSITION] < 0:
            progress[P_POSITION] = batch.ends[packet - 1] if packet else 0
            progress[P_SLICES] = 0
            clear(picture)
            clear_sink(sink)
        kind, stop, position = _next_slice(batch, room, picture, progress[P_POSITION], packet)
        if kind < 0:
            return kind, np.int64(0)
        progress[P_POSITION], progress[P_STOP] = position, stop
        if kind != DONE:
            progress[P_WAITING] = kind
            progress[P_SLICES] += 1
            return kind, np.int64(0)
        missing = uncovered(picture)
        if missing >= 0:
            return fault(NOT_COVERED, 0), np.int64(missing)
        wrong, macroblock = deliver_picture(
            picture, sink, batch.distances[batch.first_slices[packet] :], fields, packet
        )
        if wrong:
            return fault(wrong, 0), macroblock
        progress[P_PACKET] += 1
        progress[P_POSITION] = -1
    return np.int64(DONE), np.int64(0)


__all__ = ["Batch", "Fields", "Room", "Sink", "advance"]
