"""Coefficients of a block: decoding, inverse quantization, intra prediction (ISO/IEC 14496-2, 7.4).

Coefficients are in zigzag order for every scan, and saturated to 12 bits. An output block may keep fewer than
64; the others are parsed and used for prediction, then dropped.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from cvr_lightning.codec.bitstream.kernels import subroutine
from cvr_lightning.codec.fields.dct import COEFFICIENTS
from cvr_lightning.codec.mpeg4.bitstream import BAD_COEFFICIENT, BAD_DC, fault, inlined, window
from cvr_lightning.codec.mpeg4.tables import (
    DC_SCALE,
    DC_SIZE,
    EDGES,
    INTER,
    INTER_LMAX,
    INTER_RMAX,
    INTRA,
    INTRA_LMAX,
    INTRA_RMAX,
    SCANS,
)

IntraMemory = tuple[npt.NDArray[np.int64], npt.NDArray[np.int16], npt.NDArray[np.int64]]

_ZIGZAG, _HORIZONTAL, _VERTICAL = 0, 1, 2
_LONGEST_CODE = 13  # bits of a coefficient and its sign, without escapes
_NEUTRAL_DC = 1024  # mid-gray: prediction from an unavailable neighbor (7.4.3.1)


@subroutine
def _saturate(value):  # type: ignore[no-untyped-def]
    return min(max(value, -2048), 2047)


@subroutine
def _escape(words, position, table, lmax, rmax):  # type: ignore[no-untyped-def]
    """Read the data after an escape code (7.4.1.3): position, run, signed level, last."""
    bits = window(words, position)
    if bits >> 30 == 3:  # all fields of fixed length, between marker bits
        level = (bits >> 10 & 0xFFF ^ 0x800) - 0x800
        if bits >> 22 & bits >> 9 & 1 == 0 or level == 0:
            return fault(BAD_COEFFICIENT, position), 0, 0, 0
        return position + 23, bits >> 23 & 63, level, bits >> 29 & 1
    further = bits >> 31  # 0: add LMAX to the level; 10: add RMAX + 1 to the run
    position += 1 + further
    bits = window(words, position)
    entry = table[bits >> 20]
    length, run, level, last = entry & 15, entry >> 4 & 63, entry >> 10 & 31, entry >> 15
    if level == 0:
        return fault(BAD_COEFFICIENT, position), 0, 0, 0
    if further:
        run += rmax[last, level] + 1
    else:
        level += lmax[last, run]
    if bits >> (31 - length) & 1:
        level = -level
    return position + length + 1, run, level, last


@inlined
def inter_block(words, position, quantizer, mpeg, matrix, out, row):  # type: ignore[no-untyped-def]
    """Read a coded block of an inter macroblock into row ``row`` of ``out``, which is zero."""
    kept = out.shape[1]
    place, total, last = -1, 0, 0
    scale, offset = 2 * quantizer, (quantizer - 1) | 1
    bits, valid = 0, 0  # cached bits from the position on, left-aligned: loading them each time is slow
    while last == 0:
        if valid < _LONGEST_CODE:
            bits, valid = words[position >> 5] << (position & 31), 64 - (position & 31)
        entry = INTER[bits >> 52 & 0xFFF]
        level = entry >> 10 & 31
        if level:
            length, run, last = entry & 15, entry >> 4 & 63, entry >> 15
            sign = bits << length >> 63  # 0 or -1
            bits <<= length + 1
            valid -= length + 1
            position += length + 1
        else:
            if entry == 0:
                return fault(BAD_COEFFICIENT, position)
            position, run, level, last = _escape(words, position + 7, INTER, INTER_LMAX, INTER_RMAX)
            if position < 0:
                return position
            valid = 0
            sign = level >> 63
            level = (level ^ sign) - sign
        place += run + 1
        if place > 63:
            return fault(BAD_COEFFICIENT, position)
        size = (2 * level + 1) * quantizer * matrix[place] >> 4 if mpeg else level * scale + offset
        value = (min(size, 2047 - sign) ^ sign) - sign
        total += value
        if place < kept:
            out[row, place] = value
    if mpeg and total & 1 == 0 and kept == 64:
        out[row, 63] ^= 1  # mismatch control (7.4.4.3)
    return position


@subroutine
def _dc_difference(words, position, chroma):  # type: ignore[no-untyped-def]
    """Read a DC difference (7.4.1.1): position, value."""
    entry = DC_SIZE[chroma, window(words, position) >> 23]
    size = entry >> 4
    if entry == 0:
        return fault(BAD_DC, position), 0
    position += entry & 15
    if size == 0:
        return position, 0
    bits = window(words, position)
    value = bits >> (32 - size)
    if bits >> 31 == 0:
        value -= (1 << size) - 1
    if size > 8:
        if bits >> (31 - size) & 1 == 0:  # marker bit
            return fault(BAD_DC, position), 0
        size += 1
    return position + size, value


@subroutine
def _levels(words, position, place, scan, block):  # type: ignore[no-untyped-def]
    """Read the levels of a coded intra block after ``place``."""
    last = 0
    while last == 0:
        bits = window(words, position)
        entry = INTRA[bits >> 20]
        level = entry >> 10 & 31
        if level:
            length, run, last = entry & 15, entry >> 4 & 63, entry >> 15
            if bits >> (31 - length) & 1:
                level = -level
            position += length + 1
        else:
            if entry == 0:
                return fault(BAD_COEFFICIENT, position)
            position, run, level, last = _escape(words, position + 7, INTRA, INTRA_LMAX, INTRA_RMAX)
            if position < 0:
                return position
        place += run + 1
        if place > 63:
            return fault(BAD_COEFFICIENT, position)
        block[SCANS[scan, place]] = level
    return position


@subroutine
def _divide(value, divisor):  # type: ignore[no-untyped-def]
    """Divide, rounding to nearest with halves away from zero."""
    half = divisor >> 1
    return (value + half) // divisor if value >= 0 else -((half - value) // divisor)


@subroutine
def _neighbor_dc(dc, y, x, available):  # type: ignore[no-untyped-def]
    return dc[y, x] if available else _NEUTRAL_DC


def intra_memory(rows: int, columns: int) -> IntraMemory:
    """Allocate the intra prediction state of ``rows`` x ``columns`` macroblocks, and scratch for one block.

    DC (3, 2 M, 2 N) and first column and row (3, 2 M, 2 N, 2, 8) of each block of Y, Cb, Cr; scratch (64,).
    """
    shape = (3, 2 * rows, 2 * columns)
    return np.empty(shape, np.int64), np.empty((*shape, 2, 8), np.int16), np.empty(COEFFICIENTS, np.int64)


@subroutine
def intra_block(words, position, n, y, x, flags, quantizers, layer, memory, out, row):  # type: ignore[no-untyped-def]
    """Read a block of an intra macroblock into row ``row`` of ``out``, which is zero.

    Args:
        words: The VOP.
        position: Bit position of the block.
        n: Number of the block in its macroblock: 0 to 3 luma, 4 Cb, 5 Cr.
        y: Row of the block in its plane.
        x: Column of the block in its plane.
        flags: Whether the left, top and top-left neighbors are intra blocks of the same video packet; whether
            the block is coded, DC has a separate code, AC is predicted.
        quantizers: Quantizers of this macroblock, the left one and the top one.
        layer: (MPEG quantization, DC predictors are not clipped, intra matrix).
        memory: From :func:`intra_memory`, filled by the previous blocks.
        out: (rows, K) int16, one block per row.
        row: Row of this block.
    """
    left, above, corner, coded, own_dc, predicted = flags
    mpeg, dc_unclipped, matrix = layer
    plane = max(n - 3, 0)
    dc, edges, block = memory[0][plane], memory[1][plane], memory[2]
    quantizer = quantizers[0]
    dc_scale = DC_SCALE[min(plane, 1), quantizer]
    a = _neighbor_dc(dc, y, x - 1, left)
    b = _neighbor_dc(dc, y - 1, x - 1, corner)
    c = _neighbor_dc(dc, y - 1, x, above)
    from_above = abs(a - b) < abs(b - c)
    dc_predictor = _divide(c if from_above else a, dc_scale)

    block[:] = 0
    if own_dc:
        position, block[0] = _dc_difference(words, position, min(plane, 1))
        if position < 0:
            return position
    if coded:
        scan = _ZIGZAG if not predicted else (_HORIZONTAL if from_above else _VERTICAL)
        position = _levels(words, position, 0 if own_dc else -1, scan, block)
        if position < 0:
            return position
    block[0] += dc_predictor
    if own_dc and block[0] < 0:
        return fault(BAD_DC, position)
    dc[y, x] = max(block[0] * dc_scale, 0)
    if not dc_unclipped:
        dc[y, x] = min(dc[y, x], 2047)

    if predicted and (above if from_above else left):
        # The neighbor's levels, at this macroblock's quantizer (7.4.3.3).
        source = edges[y - 1, x, 1] if from_above else edges[y, x - 1, 0]
        other = quantizers[2] if from_above else quantizers[1]
        for k in range(1, 8):
            place = EDGES[1 if from_above else 0, k]
            level = source[k] if other == quantizer else _divide(source[k] * other, quantizer)
            block[place] = _saturate(block[place] + level)
    for k in range(1, 8):
        edges[y, x, 0, k] = block[EDGES[0, k]]
        edges[y, x, 1, k] = block[EDGES[1, k]]
    _dequantize_intra(block, dc_scale, quantizer, mpeg, matrix, out, row)
    return position


@subroutine
def _dequantize_intra(block, dc_scale, quantizer, mpeg, matrix, out, row):  # type: ignore[no-untyped-def]
    """Inverse quantization of an intra block (7.4.4)."""
    kept = out.shape[1]
    total = _saturate(block[0] * dc_scale)
    out[row, 0] = total
    for place in range(1, 64):
        level = block[place]
        if level == 0:
            continue
        if mpeg:
            size = 2 * abs(level) * quantizer * matrix[place] >> 4
        else:
            size = abs(level) * 2 * quantizer + ((quantizer - 1) | 1)
        value = _saturate(size if level > 0 else -size)
        total += value
        if place < kept:
            out[row, place] = value
    if mpeg and total & 1 == 0 and kept == 64:
        out[row, 63] ^= 1
