"""The data of CAVLC B slices, and packets that hold them (ITU-T H.264, 7.3.4)."""

from __future__ import annotations

from cvr_lightning.codec.bitstream.kernels import fault, kernel, read_unsigned, subroutine
from cvr_lightning.codec.bitstream.references import reference_to
from cvr_lightning.codec.h264.cavlc_bidirectional import read_macroblock
from cvr_lightning.codec.h264.delivery import deliver
from cvr_lightning.codec.h264.direct import infer_direct
from cvr_lightning.codec.h264.faults import BAD_RUN, CUT_SHORT
from cvr_lightning.codec.h264.packets import CAVLC_B, P_STOP, P_WAITING, advance
from cvr_lightning.codec.h264.slice_header import H_FIRST, H_POSITION
from cvr_lightning.codec.h264.slices import covers
from cvr_lightning.codec.h264.state import enter


@subroutine
def _skip_run(picture, position, number, run, colocated):  # type: ignore[no-untyped-def]
    """Infer ``run`` skipped macroblocks from ``number`` on: position or fault, the one that comes next."""
    for _ in range(run):
        wrong = covers(picture, number)
        if wrong:
            return fault(wrong, position), number
        enter(picture, number)
        wrong = infer_direct(picture, colocated, 15)
        if wrong:
            return fault(wrong, position), number
        number += 1
    return position, number


@subroutine
def _read_slice(picture, header, stop, sink, colocated):  # type: ignore[no-untyped-def]
    """Read the data of a B slice: position or fault, last macroblock."""
    position, number = header[H_POSITION], header[H_FIRST]
    while True:
        position, run = read_unsigned(picture.words, position)
        if run > len(picture.macroblocks) - number or position > stop:
            return fault(BAD_RUN, position), number
        position, number = _skip_run(picture, position, number, run, colocated)
        if position < 0 or (run and position == stop):
            return position, number
        wrong = covers(picture, number)
        if wrong:
            return fault(wrong, position), number
        enter(picture, number)
        position = read_macroblock(picture, position, colocated)
        if position < 0:
            return position, number
        deliver(picture, sink)
        number += 1
        if position == stop:
            return position, number
        if position > stop:
            return fault(CUT_SHORT, stop), number - 1


@kernel
def read_cavlc_b_packets(batch, room, sink, fields, colocated):  # type: ignore[no-untyped-def]
    """Read packets up to a slice of another kind: what comes next or a fault, its macroblock."""
    picture, sink = reference_to(room.picture, room.memory[0]), reference_to(sink, room.memory[1])
    colocated = reference_to(colocated, room.memory[2])
    while True:
        coming, macroblock = advance(batch, room, picture, sink, fields)
        if coming != CAVLC_B:
            return coming, macroblock
        batch.progress[P_WAITING] = 0
        stop = batch.progress[P_STOP]
        end, macroblock = _read_slice(picture, room.buffers[0], stop, sink, colocated)
        if end < 0:
            return end, macroblock
