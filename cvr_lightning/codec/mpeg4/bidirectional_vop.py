"""Macroblocks of B-VOPs (ISO/IEC 14496-2, 6.2.6 and 7.6.9)."""

from __future__ import annotations

from cvr_lightning.codec.arrays import BlockMode
from cvr_lightning.codec.bitstream.kernels import kernel, subroutine
from cvr_lightning.codec.mpeg4.bitstream import (
    BAD_MARKER,
    BAD_TYPE,
    CUT_SHORT,
    at_packet,
    fault,
    packet_header,
    to_words,
    vop_end,
    window,
)
from cvr_lightning.codec.mpeg4.motion import read_vector
from cvr_lightning.codec.mpeg4.reference_vop import fill_block, inter_blocks, to_quarters

_MODE_SKIPPED, _MODE_INTER = int(BlockMode.SKIPPED), int(BlockMode.INTER)
_MODE_INTER4V = int(BlockMode.INTER4V)
_FORWARD, _BACKWARD, _BOTH = 1, 2, 3
_DIRECT, _INTERPOLATED, _BACKWARD_ONLY = 0, 1, 2  # leading zeros of mb_type (Table B-3); 3 is forward


@subroutine
def _fraction(value, part, whole):  # type: ignore[no-untyped-def]
    """``value * part / whole``, rounded toward zero."""
    product = value * part
    return product // whole if product >= 0 else -(-product // whole)


@subroutine
def _direct(colocated, past, future, y, x, dx, dy, since_past, between):  # type: ignore[no-untyped-def]
    """Derive the vectors of a direct macroblock from the co-located one (7.6.9.5)."""
    for axis in range(2):
        difference = dy if axis else dx
        for j in range(y, y + 2):
            for i in range(x, x + 2):
                vector = int(colocated[j, i, axis])
                forward = _fraction(vector, since_past, between) + difference
                past[j, i, axis] = forward
                if difference:
                    future[j, i, axis] = forward - vector
                else:
                    future[j, i, axis] = _fraction(vector, since_past - between, between)


@subroutine
def _read_type(words, position):  # type: ignore[no-untyped-def]
    """Read modb, mb_type and cbpb: position, type, coded block pattern, whether modb is 1."""
    bits = window(words, position)
    if bits >> 31:
        return position + 1, _DIRECT, 0, True
    kind = 0
    while kind < 4 and bits >> (29 - kind) & 1 == 0:
        kind += 1
    if kind == 4:
        return fault(BAD_TYPE, position), 0, 0, False
    position += 3 + kind
    if bits >> 30 & 1:
        return position, kind, 0, False
    return position + 6, kind, window(words, position) >> 26, False


@subroutine
def _read_vectors(words, position, vop, kind, y, x, last, past, future):  # type: ignore[no-untyped-def]
    """Read the vectors of a non-direct macroblock; ``last`` (2, 2) holds those of the previous one."""
    for backward in range(2):
        if kind == (_BACKWARD_ONLY + 1 if backward else _BACKWARD_ONLY):
            continue
        code = vop.backward if backward else vop.forward
        position, vx, vy = read_vector(words, position, last[backward][0], last[backward][1], code)
        if position < 0:
            return position, last
        last = (last[0], (vx, vy)) if backward else ((vx, vy), last[1])
        field = future if backward else past
        for j in range(y, y + 2):
            for i in range(x, x + 2):
                field[j, i, 0], field[j, i, 1] = vx, vy
    return position, last


@subroutine
def _read_packet(words, position, vop, quantizer, coded, macroblock):  # type: ignore[no-untyped-def]
    """Read the header of a video packet, whose first macroblock may be skipped, without coded bits."""
    begin = position
    position, number, quantizer = packet_header(words, position, vop, quantizer)
    if position >= 0 and not coded < number <= macroblock:
        return fault(BAD_MARKER, begin), quantizer
    return position, quantizer


@kernel
def read_b_vop(  # type: ignore[no-untyped-def]
    data, buffer, vop, matrices, colocated, past, future, directions, modes, quantizers, luma, chroma
):
    """Read the macroblocks of a B-VOP into arrays of zeros: position or fault, last macroblock.

    Args:
        data: uint8, the VOP.
        buffer: From :func:`~cvr_lightning.codec.mpeg4.bitstream.word_buffer`.
        vop: The VOP's header.
        matrices: (2, 64) intra and inter quantizer matrices, in zigzag order.
        colocated: Vectors (2 M, 2 N, 2), in the units of the stream, and modes (2 M, 2 N) of the future
            reference.
        past: (2 M, 2 N, 2) int16, vectors to the past reference in quarter samples.
        future: (2 M, 2 N, 2) int16, vectors to the future reference.
        directions: (2 M, 2 N) uint8, 1 past, 2 future, 3 both references.
        modes: (2 M, 2 N) uint8.
        quantizers: (M, N) uint8.
        luma: (4 M N, K) int16, one row per block.
        chroma: (2 M N, K) int16.
    """
    words = to_words(data, buffer)
    vectors, future_modes = colocated
    matrix = matrices[1]
    position, quantizer, coded = vop.position, vop.quantizer, -1
    last = ((0, 0), (0, 0))
    for macroblock in range(vop.rows * vop.columns):
        mb_y = macroblock // vop.columns
        mb_x = macroblock - mb_y * vop.columns
        y, x = 2 * mb_y, 2 * mb_x
        if mb_x == 0:
            last = ((0, 0), (0, 0))
        quantizers[mb_y, mb_x] = quantizer
        fill_block(directions, y, x, _FORWARD)
        if future_modes[y, x] == _MODE_SKIPPED:
            continue
        if vop.packets and coded >= 0 and at_packet(words, position, vop.limit):
            position, quantizer = _read_packet(words, position, vop, quantizer, coded, macroblock)
            if position < 0:
                return position, macroblock
            last = ((0, 0), (0, 0))
        coded = macroblock
        position, kind, pattern, bare = _read_type(words, position)
        if position < 0:
            return position, macroblock
        if kind != _DIRECT and pattern and window(words, position) >> 31:
            quantizer += 2 if window(words, position) >> 30 & 1 else -2
            quantizer = min(max(quantizer, 1), 31)
            position += 1
        if kind != _DIRECT and pattern:
            position += 1
        mode = _MODE_INTER
        if kind == _DIRECT:
            dx = dy = 0
            if not bare:
                position, dx, dy = read_vector(words, position, 0, 0, 1)
                if position < 0:
                    return position, macroblock
            _direct(vectors, past, future, y, x, dx, dy, vop.since_past, vop.between)
            mode = _MODE_INTER4V
        else:
            position, last = _read_vectors(words, position, vop, kind, y, x, last, past, future)
            if position < 0:
                return position, macroblock
        if pattern:
            position = inter_blocks(
                words, position, pattern, quantizer, vop.mpeg, matrix, mb_y, mb_x, vop.columns, luma, chroma
            )
            if position < 0:
                return position, macroblock
        if kind == _BACKWARD_ONLY:
            fill_block(directions, y, x, _BACKWARD)
        elif kind in (_DIRECT, _INTERPOLATED):
            fill_block(directions, y, x, _BOTH)
        fill_block(modes, y, x, mode)
        quantizers[mb_y, mb_x] = quantizer
        if position > vop.limit:
            return fault(CUT_SHORT, vop.limit), macroblock
    if vop.packets and at_packet(words, position, vop.limit):
        position, quantizer = _read_packet(words, position, vop, quantizer, coded, vop.rows * vop.columns - 1)
    if not vop.quarter:
        to_quarters(past)
        to_quarters(future)
    if position >= 0:
        position = vop_end(data, position, vop.no_stuffing)
    return position, vop.rows * vop.columns - 1
