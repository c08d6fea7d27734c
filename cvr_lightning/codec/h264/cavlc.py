"""CAVLC: residual blocks and what they are predicted from (ITU-T H.264, 9.2)."""

from __future__ import annotations

from typing import Final

import numpy as np

from cvr_lightning.codec.bitstream.kernels import fault, inlined, leading_zeros, read_bits, subroutine, window
from cvr_lightning.codec.h264.faults import BAD_COEFFICIENT
from cvr_lightning.codec.h264.residual import (
    RASTER,
    chroma_quantizer,
    scale_4x4,
    scale_8x8,
    scale_chroma_dc,
    scale_luma_dc,
)
from cvr_lightning.codec.h264.state import (
    INTRA_4X4,
    INTRA_16X16,
    LEVELS,
    M_KIND,
    M_PATTERN,
    M_TRANSFORM,
    S_ABOVE,
    S_CHROMA,
    S_LEFT,
    S_MACROBLOCK,
    S_QUANTIZER,
)
from cvr_lightning.codec.h264.tables import (
    COEFFICIENT_TOKENS,
    RUN_BEFORE,
    TOTAL_ZEROS,
    TOTAL_ZEROS_CHROMA,
)

CHROMA_DC: Final = 3
"""Its table of coefficient tokens; 0 to 2 are those of nC 0-1, 2-3, 4-7."""
_FIXED_LENGTH: Final = 4
_TABLES: Final = np.array([0, 0, 1, 1, 2, 2, 2, 2, *9 * [_FIXED_LENGTH]], np.int64)
_LONGEST_PREFIX: Final = 25


@inlined
def _look_up(table, bits):  # type: ignore[no-untyped-def]
    """The entry of the code at the front of 32 bits, see ``tables``."""
    zeros = min(leading_zeros(bits) - 32, 15)
    return table[zeros, bits >> (28 - zeros) & 7]


@subroutine
def _read_token(picture, position, table):  # type: ignore[no-untyped-def]
    """Read coeff_token: position, total_coeff, trailing_ones."""
    bits = window(picture.words, position)
    if table == _FIXED_LENGTH:
        code = bits >> 26
        if code == 3:
            return position + 6, np.int64(0), np.int64(0)
        return position + 6, (code >> 2) + 1, code & 3
    entry = _look_up(COEFFICIENT_TOKENS[table], bits)
    if entry == 0:
        return fault(BAD_COEFFICIENT, position), np.int64(0), np.int64(0)
    return position + (entry & 31), entry >> 7, entry >> 5 & 3


@subroutine
def _read_level(picture, position, suffix, first):  # type: ignore[no-untyped-def]
    """Read level_prefix and level_suffix (9.2.2.1): position, level; ``first`` where it cannot be 1."""
    words = picture.words
    prefix = leading_zeros(window(words, position)) - 32
    if prefix > _LONGEST_PREFIX:
        return fault(BAD_COEFFICIENT, position), np.int64(0)
    position += prefix + 1
    size = suffix
    if prefix == 14 and suffix == 0:
        size = 4
    elif prefix >= 15:
        size = prefix - 3
    code = min(prefix, 15) << suffix
    if size:
        code += read_bits(words, position, size)
        position += size
    if prefix >= 15 and suffix == 0:
        code += 15
    if prefix >= 16:
        code += (1 << (prefix - 3)) - 4096
    if first:
        code += 2
    return position, (-code - 1) >> 1 if code & 1 else (code + 2) >> 1


@subroutine
def read_block(picture, position, table, most):  # type: ignore[no-untyped-def]
    """Read residual_block_cavlc (9.2) into ``picture.scratch``, places ascending: position, their number."""
    words, scratch = picture.words, picture.scratch
    position, total, ones = _read_token(picture, position, table)
    if total == 0 or position < 0:
        return position, np.int64(0)
    if total > most or ones > total:
        return fault(BAD_COEFFICIENT, position), np.int64(0)
    suffix = 1 if total > 10 and ones < 3 else 0
    bits = window(words, position)
    for i in range(ones):
        scratch[LEVELS + total - 1 - i] = 1 - 2 * (bits >> (31 - i) & 1)
    position += ones
    for i in range(ones, total):
        position, level = _read_level(picture, position, suffix, i == ones and ones < 3)
        if position < 0:
            return position, np.int64(0)
        scratch[LEVELS + total - 1 - i] = level
        if suffix == 0:
            suffix = 1
        if abs(level) > 3 << (suffix - 1) and suffix < 6:
            suffix += 1
    zeros = np.int64(0)
    if total < most:
        if table == CHROMA_DC:
            entry = _look_up(TOTAL_ZEROS_CHROMA[total - 1], window(words, position))
        else:
            entry = _look_up(TOTAL_ZEROS[total - 1], window(words, position))
        zeros = entry >> 5
        if entry == 0 or zeros > most - total:
            return fault(BAD_COEFFICIENT, position), np.int64(0)
        position += entry & 31
    place = zeros + total - 1
    for i in range(total - 1, -1, -1):
        scratch[i] = place
        if i and zeros:
            entry = _look_up(RUN_BEFORE[min(zeros, 7) - 1], window(words, position))
            run = entry >> 5
            if entry == 0 or run > zeros:
                return fault(BAD_COEFFICIENT, position), np.int64(0)
            position += entry & 31
            zeros -= run
            place -= run
        place -= 1
    return position, total


@subroutine
def _table(picture, plane, j, i):  # type: ignore[no-untyped-def]
    """The table of coefficient tokens of a block, by the counts of its neighbors (9.2.1)."""
    s, counts = picture.slice, picture.counts
    first, side = (0, 4) if plane == 0 else (12 + 4 * plane, 2)
    place = first + side * j + i
    number = s[S_MACROBLOCK]
    a = b = np.int64(-1)
    if i:
        a = np.int64(counts[number, place - 1])
    elif s[S_LEFT] >= 0:
        a = np.int64(counts[s[S_LEFT], place + side - 1])
    if j:
        b = np.int64(counts[number, place - side])
    elif s[S_ABOVE] >= 0:
        b = np.int64(counts[s[S_ABOVE], place + side * (side - 1)])
    if a < 0:
        return _TABLES[max(b, 0)]
    return _TABLES[a if b < 0 else (a + b + 1) >> 1]


@subroutine
def _read_luma(picture, position, kind, pattern, eights):  # type: ignore[no-untyped-def]
    s = picture.slice
    quantizer, number = s[S_QUANTIZER], s[S_MACROBLOCK]
    inter = kind < INTRA_4X4
    which = 3 if inter else 0
    first = 0
    if kind == INTRA_16X16:
        position, count = read_block(picture, position, _table(picture, 0, 0, 0), 16)
        if position < 0:
            return position
        if count:
            scale_luma_dc(picture, count, which, quantizer)
        first = 1
    for n in range(16):
        if pattern >> (n >> 2) & 1 == 0:
            continue
        place = RASTER[n]
        j, i = place >> 2, place & 3
        position, count = read_block(picture, position, _table(picture, 0, j, i), 16 - first)
        if position < 0:
            return position
        picture.counts[number, place] = count
        if count:
            if eights:
                scale_8x8(picture, count, 4, n & 3, 16 * (n & 12), 7 if inter else 6, quantizer)
            else:
                scale_4x4(picture, count, first, 16 * n, which, quantizer)
    return position


@subroutine
def _read_chroma(picture, position, kind, pattern):  # type: ignore[no-untyped-def]
    number = picture.slice[S_MACROBLOCK]
    which = 4 if kind < INTRA_4X4 else 1
    for plane in range(2):
        position, count = read_block(picture, position, CHROMA_DC, 4)
        if position < 0:
            return position
        if count:
            scale_chroma_dc(picture, count, plane, which + plane, chroma_quantizer(picture, plane))
    if pattern >> 5 == 0:
        return position
    for plane in range(2):
        quantizer = chroma_quantizer(picture, plane)
        for n in range(4):
            table = _table(picture, 1 + plane, n >> 1, n & 1)
            position, count = read_block(picture, position, table, 15)
            if position < 0:
                return position
            picture.counts[number, 16 + 4 * plane + n] = count
            if count:
                scale_4x4(picture, count, 1, 256 + 64 * plane + 16 * n, which + plane, quantizer)
    return position


@subroutine
def read_residual(picture, position):  # type: ignore[no-untyped-def]
    """Read the residual of the macroblock in hand (7.3.5.3) into ``picture.pairs``."""
    row = picture.macroblocks[picture.slice[S_MACROBLOCK]]
    kind, pattern = np.int64(row[M_KIND]), np.int64(row[M_PATTERN])
    position = _read_luma(picture, position, kind, pattern & 15, row[M_TRANSFORM] != 0)
    if position >= 0 and picture.slice[S_CHROMA] and pattern >> 4:
        position = _read_chroma(picture, position, kind, pattern)
    return position
