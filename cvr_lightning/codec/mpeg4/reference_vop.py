"""Macroblocks of I- and P-VOPs (ISO/IEC 14496-2, 6.2.6 and 7.6)."""

from __future__ import annotations

import numpy as np

from cvr_lightning.codec.arrays import BlockMode
from cvr_lightning.codec.bitstream.kernels import kernel, subroutine
from cvr_lightning.codec.mpeg4.bitstream import (
    BAD_CBPY,
    BAD_MARKER,
    BAD_MCBPC,
    CUT_SHORT,
    I_VOP,
    P_VOP,
    QUARTERS_OF_HALF,
    at_packet,
    fault,
    inlined,
    packet_header,
    past_stuffing,
    to_words,
    vop_end,
    window,
)
from cvr_lightning.codec.mpeg4.motion import predict_vector, read_vector
from cvr_lightning.codec.mpeg4.tables import CBPY, MCBPC_I, MCBPC_P
from cvr_lightning.codec.mpeg4.texture import inter_block, intra_block

_INTER, _INTER_DQUANT, _INTER4V, _INTRA, _INTRA_DQUANT = 0, 1, 2, 3, 4  # types of the MCBPC table
_MODE_INTER, _MODE_INTER4V = int(BlockMode.INTER), int(BlockMode.INTER4V)
_MODE_INTRA = int(BlockMode.INTRA)


@inlined
def _next_macroblock(words, position, vop, macroblock, start, quantizer):  # type: ignore[no-untyped-def]
    """Skip stuffing and read a video packet header: position, start of the packet, quantizer."""
    position = past_stuffing(words, position, vop.kind)
    if vop.packets and macroblock and at_packet(words, position, vop.limit):
        begin = position
        position, number, quantizer = packet_header(words, position, vop, quantizer)
        if position < 0:
            return position, start, quantizer
        if number != macroblock:
            return fault(BAD_MARKER, begin), start, quantizer
        start = macroblock
        position = past_stuffing(words, position, vop.kind)
    return position, start, quantizer


@inlined
def read_dquant(words, position, quantizer):  # type: ignore[no-untyped-def]
    """Read dquant: position, quantizer."""
    change = window(words, position) >> 30
    quantizer += change - 1 if change > 1 else -1 - change
    return position + 2, min(max(quantizer, 1), 31)


@inlined
def inter_blocks(words, position, pattern, quantizer, mpeg, matrix, mb_y, mb_x, columns, luma, chroma):  # type: ignore[no-untyped-def]
    """Read the coded blocks of an inter macroblock; ``pattern`` has one bit per block, highest first."""
    first = 4 * columns * mb_y + 2 * mb_x
    for n in range(4):
        if pattern >> (5 - n) & 1:
            row = first + (n & 1) + (n >> 1) * 2 * columns
            position = inter_block(words, position, quantizer, mpeg, matrix, luma, row)
            if position < 0:
                return position
    first = 2 * (columns * mb_y + mb_x)
    for n in range(2):
        if pattern >> (1 - n) & 1:
            position = inter_block(words, position, quantizer, mpeg, matrix, chroma, first + n)
            if position < 0:
                return position
    return position


@inlined
def fill_block(field, y, x, value):  # type: ignore[no-untyped-def]
    """Set the four blocks of a macroblock."""
    field[y, x] = value
    field[y, x + 1] = value
    field[y + 1, x] = value
    field[y + 1, x + 1] = value


@subroutine
def _intra_macroblock(  # type: ignore[no-untyped-def]
    words, position, vop, matrix, kind, pattern, mb_y, mb_x, start, quantizer, memory, grids
):
    """Read an intra macroblock after its MCBPC: position, quantizer."""
    modes, quantizers, luma, chroma = grids
    macroblock = mb_y * vop.columns + mb_x
    predicted = window(words, position) >> 31
    position += 1
    entry = CBPY[window(words, position) >> 26]
    if entry == 0:
        return fault(BAD_CBPY, position), quantizer
    position += entry & 15
    pattern |= entry >> 4 << 2
    own_dc = quantizer < vop.dc_threshold
    if kind == _INTRA_DQUANT:
        position, quantizer = read_dquant(words, position, quantizer)
    up = macroblock - vop.columns
    left = mb_x > 0 and macroblock - 1 >= start and modes[2 * mb_y, 2 * mb_x - 2] == _MODE_INTRA
    above = mb_y > 0 and up >= start and modes[2 * mb_y - 2, 2 * mb_x] == _MODE_INTRA
    corner = mb_x > 0 and mb_y > 0 and up - 1 >= start and modes[2 * mb_y - 2, 2 * mb_x - 2] == _MODE_INTRA
    left_quantizer = np.int64(quantizers[mb_y, mb_x - 1]) if left else quantizer
    above_quantizer = np.int64(quantizers[mb_y - 1, mb_x]) if above else quantizer
    layer = (vop.mpeg, vop.dc_unclipped, matrix)
    for n in range(6):
        coded = pattern >> (5 - n) & 1 == 1
        if n < 4:
            y, x = 2 * mb_y + n // 2, 2 * mb_x + n % 2
            inside_x, inside_y = n % 2 == 1, n >= 2  # the neighbor is in this macroblock
            has_corner = (above if inside_x else corner) if not inside_y else (left or inside_x)
            flags = (left or inside_x, above or inside_y, has_corner, coded, own_dc, predicted == 1)
            neighbors = (
                quantizer,
                quantizer if inside_x else left_quantizer,
                quantizer if inside_y else above_quantizer,
            )
            row = 2 * vop.columns * y + x
            position = intra_block(words, position, n, y, x, flags, neighbors, layer, memory, luma, row)
        else:
            flags = (left, above, corner, coded, own_dc, predicted == 1)
            neighbors = (quantizer, left_quantizer, above_quantizer)
            row = 2 * macroblock + n - 4
            position = intra_block(
                words, position, n, mb_y, mb_x, flags, neighbors, layer, memory, chroma, row
            )
        if position < 0:
            return position, quantizer
    return position, quantizer


@inlined
def _inter_macroblock(  # type: ignore[no-untyped-def]
    words, position, vop, matrix, kind, pattern, mb_y, mb_x, start, quantizer, motion, luma, chroma
):
    """Read an inter macroblock of a P-VOP after its MCBPC: position, quantizer."""
    entry = CBPY[window(words, position) >> 26]
    if entry == 0:
        return fault(BAD_CBPY, position), quantizer
    position += entry & 15
    pattern |= (15 - (entry >> 4)) << 2
    if kind == _INTER_DQUANT:
        position, quantizer = read_dquant(words, position, quantizer)
    y, x = 2 * mb_y, 2 * mb_x
    for n in range(4 if kind == _INTER4V else 1):
        px, py = predict_vector(motion, mb_y, mb_x, n, start)
        position, px, py = read_vector(words, position, px, py, vop.forward)
        if position < 0:
            return position, quantizer
        if kind == _INTER4V:
            motion[y + (n >> 1), x + (n & 1), 0], motion[y + (n >> 1), x + (n & 1), 1] = px, py
        else:
            for j in range(2):
                for i in range(2):
                    motion[y + j, x + i, 0], motion[y + j, x + i, 1] = px, py
    if pattern:
        position = inter_blocks(
            words, position, pattern, quantizer, vop.mpeg, matrix, mb_y, mb_x, vop.columns, luma, chroma
        )
    return position, quantizer


@subroutine
def to_quarters(motion):  # type: ignore[no-untyped-def]
    """Convert vectors from half to quarter samples."""
    for y in range(motion.shape[0]):
        for x in range(motion.shape[1]):
            motion[y, x, 0] *= QUARTERS_OF_HALF
            motion[y, x, 1] *= QUARTERS_OF_HALF


@kernel
def read_vop(data, buffer, vop, matrices, memory, motion, modes, quantizers, luma, chroma):  # type: ignore[no-untyped-def]
    """Read the macroblocks of an I- or P-VOP into arrays of zeros: position or fault, last macroblock.

    Args:
        data: uint8, the VOP.
        buffer: From :func:`~cvr_lightning.codec.mpeg4.bitstream.word_buffer`.
        vop: The VOP's header.
        matrices: (2, 64) intra and inter quantizer matrices, in zigzag order.
        memory: From :func:`~cvr_lightning.codec.mpeg4.texture.intra_memory`; need not be initialized.
        motion: (2 M, 2 N, 2) int16, vectors (x, y) in quarter samples.
        modes: (2 M, 2 N) uint8.
        quantizers: (M, N) uint8.
        luma: (4 M N, K) int16, one row per block.
        chroma: (2 M N, K) int16.
    """
    words = to_words(data, buffer)
    grids = (modes, quantizers, luma, chroma)
    position, start, quantizer = vop.position, 0, vop.quantizer
    mb_y, mb_x = 0, -1
    for macroblock in range(vop.rows * vop.columns):
        mb_x += 1
        if mb_x == vop.columns:
            mb_y, mb_x = mb_y + 1, 0
        position, start, quantizer = _next_macroblock(words, position, vop, macroblock, start, quantizer)
        if position < 0:
            return position, macroblock
        if vop.kind == P_VOP and window(words, position) >> 31:
            position += 1
            quantizers[mb_y, mb_x] = quantizer
        else:
            if vop.kind == P_VOP:
                position += 1
            table = MCBPC_I if vop.kind == I_VOP else MCBPC_P
            entry = table[window(words, position) >> 23]
            if entry == 0:
                return fault(BAD_MCBPC, position), macroblock
            position += entry & 15
            kind, pattern = entry >> 6, entry >> 4 & 3
            intra = kind >= _INTRA
            if intra:
                mode = _MODE_INTRA
                position, quantizer = _intra_macroblock(
                    words,
                    position,
                    vop,
                    matrices[0],
                    kind,
                    pattern,
                    mb_y,
                    mb_x,
                    start,
                    quantizer,
                    memory,
                    grids,
                )
            else:
                mode = _MODE_INTER4V if kind == _INTER4V else _MODE_INTER
                position, quantizer = _inter_macroblock(
                    words,
                    position,
                    vop,
                    matrices[1],
                    kind,
                    pattern,
                    mb_y,
                    mb_x,
                    start,
                    quantizer,
                    motion,
                    luma,
                    chroma,
                )
            if position < 0:
                return position, macroblock
            fill_block(modes, 2 * mb_y, 2 * mb_x, mode)
            quantizers[mb_y, mb_x] = quantizer
        if position > vop.limit:
            return fault(CUT_SHORT, vop.limit), macroblock
    if not vop.quarter:
        to_quarters(motion)
    position = past_stuffing(words, position, vop.kind)
    return vop_end(data, position, vop.no_stuffing), vop.rows * vop.columns - 1
