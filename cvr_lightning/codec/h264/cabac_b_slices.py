"""The data of CABAC B slices, and packets that hold them (ITU-T H.264, 7.3.4)."""

from __future__ import annotations

from cvr_lightning.codec.bitstream.kernels import fault, kernel, subroutine
from cvr_lightning.codec.bitstream.references import reference_to
from cvr_lightning.codec.h264.cabac import position_of
from cvr_lightning.codec.h264.cabac_bidirectional import SKIP, read_macroblock
from cvr_lightning.codec.h264.cabac_macroblocks import read_skip
from cvr_lightning.codec.h264.cabac_slices import begin_cabac, end_macroblock
from cvr_lightning.codec.h264.delivery import deliver
from cvr_lightning.codec.h264.direct import infer_direct
from cvr_lightning.codec.h264.packets import CABAC_B, P_STOP, P_WAITING, advance
from cvr_lightning.codec.h264.slice_header import H_FIRST
from cvr_lightning.codec.h264.slices import covers
from cvr_lightning.codec.h264.state import S_DELTA, enter


@subroutine
def _read_slice(picture, header, stop, sink, colocated):  # type: ignore[no-untyped-def]
    """Read the data of a B slice: position or fault, last macroblock."""
    begin_cabac(picture, header)
    number = header[H_FIRST]
    while True:
        wrong = covers(picture, number)
        if wrong:
            return fault(wrong, position_of(picture.engine)), number
        enter(picture, number)
        skipped = read_skip(picture, SKIP)
        if skipped:
            wrong = infer_direct(picture, colocated, 15)
            picture.slice[S_DELTA] = 0
        else:
            wrong = read_macroblock(picture, colocated)
        if wrong:
            return fault(wrong, position_of(picture.engine)), number
        if not skipped:
            deliver(picture, sink)
        ends, position = end_macroblock(picture, stop)
        if ends:
            return position, number
        number += 1


@kernel
def read_cabac_b_packets(batch, room, sink, fields, colocated):  # type: ignore[no-untyped-def]
    """Read packets up to a slice of another kind: what comes next or a fault, its macroblock."""
    picture, sink = reference_to(room.picture, room.memory[0]), reference_to(sink, room.memory[1])
    colocated = reference_to(colocated, room.memory[2])
    while True:
        coming, macroblock = advance(batch, room, picture, sink, fields)
        if coming != CABAC_B:
            return coming, macroblock
        batch.progress[P_WAITING] = 0
        stop = batch.progress[P_STOP]
        end, macroblock = _read_slice(picture, room.buffers[0], stop, sink, colocated)
        if end < 0:
            return end, macroblock
