"""Packets of CAVLC slices."""

from __future__ import annotations

from cvr_lightning.codec.bitstream.kernels import kernel
from cvr_lightning.codec.bitstream.references import reference_to
from cvr_lightning.codec.h264.packets import CAVLC, P_STOP, P_WAITING, advance
from cvr_lightning.codec.h264.slices import read_cavlc_slice


@kernel
def read_cavlc_packets(batch, room, sink, fields):  # type: ignore[no-untyped-def]
    """Read packets up to a slice of another entropy coding: what comes next or a fault, its macroblock."""
    picture, sink = reference_to(room.picture, room.memory[0]), reference_to(sink, room.memory[1])
    while True:
        coming, macroblock = advance(batch, room, picture, sink, fields)
        if coming != CAVLC:
            return coming, macroblock
        batch.progress[P_WAITING] = 0
        end, macroblock = read_cavlc_slice(picture, room.buffers[0], batch.progress[P_STOP], sink)
        if end < 0:
            return end, macroblock
