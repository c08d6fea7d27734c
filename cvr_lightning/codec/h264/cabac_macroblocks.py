"""Macroblocks of CABAC slices (ITU-T H.264, 7.3.5, binarizations and contexts of 9.3.2 and 9.3.3.1)."""

from __future__ import annotations

from typing import Final

import numpy as np

from cvr_lightning.codec.bitstream.kernels import subroutine
from cvr_lightning.codec.h264.bidirectional import LIST_0
from cvr_lightning.codec.h264.cabac import position_of, read_bin, start, terminate
from cvr_lightning.codec.h264.cabac_motion import read_partitions, read_quarters
from cvr_lightning.codec.h264.cabac_residual import read_residual
from cvr_lightning.codec.h264.cavlc_macroblocks import read_pcm
from cvr_lightning.codec.h264.faults import (
    BAD_COEFFICIENT,
    BAD_QUANTIZER,
)
from cvr_lightning.codec.h264.intra import predict_mode, set_mode
from cvr_lightning.codec.h264.slice_header import I
from cvr_lightning.codec.h264.state import (
    INTER_8X8,
    INTER_16X16,
    INTRA_4X4,
    INTRA_8X8,
    INTRA_16X16,
    M_CHROMA_MODE,
    M_DC,
    M_KIND,
    M_MODE,
    M_PATTERN,
    M_QUANTIZER,
    M_TRANSFORM,
    S_ABOVE,
    S_CHROMA,
    S_DELTA,
    S_LEFT,
    S_MACROBLOCK,
    S_QUANTIZER,
    S_TRANSFORM_8X8,
    S_TYPE,
    SKIPPED,
)

SKIP: Final = 11
_TYPE_I: Final = 3
_TYPE_P: Final = 14
_TYPE_I_IN_P: Final = 17
_QUANTIZER: Final = 60
_CHROMA_MODE: Final = 64
_MODE_FLAG: Final = 68
_PATTERN: Final = 73
_PATTERN_CHROMA: Final = 77
_TRANSFORM: Final = 399
_PCM: Final = 25
_MOST_DELTAS: Final = 104


@subroutine
def read_skip(picture, first):  # type: ignore[no-untyped-def]
    """Read mb_skip_flag, whose contexts begin at ``first``."""
    s, table = picture.slice, picture.macroblocks
    index = first
    if s[S_LEFT] >= 0 and table[s[S_LEFT], M_KIND] != SKIPPED:
        index += 1
    if s[S_ABOVE] >= 0 and table[s[S_ABOVE], M_KIND] != SKIPPED:
        index += 1
    return read_bin(picture, index)


@subroutine
def read_macroblock(picture):  # type: ignore[no-untyped-def]
    """Read macroblock_layer (7.3.5) of an I or P macroblock in hand: 0, or a fault's code."""
    s = picture.slice
    if s[S_TYPE] == I:
        return read_intra(picture, _read_type_i(picture))
    if read_bin(picture, _TYPE_P):
        return read_intra(picture, read_type_i_in(picture, _TYPE_I_IN_P))
    halves = read_bin(picture, _TYPE_P + 1)
    shape = 2 - read_bin(picture, _TYPE_P + 3) if halves else 3 * read_bin(picture, _TYPE_P + 2)
    return _read_inter(picture, shape)


@subroutine
def _read_type_i(picture):  # type: ignore[no-untyped-def]
    """Read mb_type of an I slice."""
    s, table = picture.slice, picture.macroblocks
    index = _TYPE_I
    for k in range(2):
        number = s[S_ABOVE] if k else s[S_LEFT]
        if number >= 0 and table[number, M_KIND] not in (INTRA_4X4, INTRA_8X8):
            index += 1
    if not read_bin(picture, index):
        return 0
    if terminate(picture.words, picture.engine):
        return _PCM
    kind = 1 + 12 * read_bin(picture, _TYPE_I + 3)
    if read_bin(picture, _TYPE_I + 4):
        kind += 4 + 4 * read_bin(picture, _TYPE_I + 5)
    kind += 2 * read_bin(picture, _TYPE_I + 6)
    return kind + read_bin(picture, _TYPE_I + 7)


@subroutine
def read_type_i_in(picture, first):  # type: ignore[no-untyped-def]
    """Read the suffix of mb_type for an intra macroblock of a P or B slice."""
    if not read_bin(picture, first):
        return 0
    if terminate(picture.words, picture.engine):
        return _PCM
    kind = 1 + 12 * read_bin(picture, first + 1)
    if read_bin(picture, first + 2):
        kind += 4 + 4 * read_bin(picture, first + 2)
    kind += 2 * read_bin(picture, first + 3)
    return kind + read_bin(picture, first + 3)


@subroutine
def read_intra(picture, code):  # type: ignore[no-untyped-def]
    """Read an intra macroblock with mb_type ``code`` of I slices: 0, or a fault's code."""
    s = picture.slice
    row = picture.macroblocks[s[S_MACROBLOCK]]
    if code == _PCM:
        position = read_pcm(picture, position_of(picture.engine))
        start(picture.words, picture.engine, position)
        row[M_DC], s[S_DELTA] = 7, 0
        return 0
    if code:
        row[M_KIND], row[M_MODE] = INTRA_16X16, (code - 1) & 3
        row[M_PATTERN] = (15 if code > 12 else 0) | ((code - 1) // 4 % 3) << 4
    else:
        row[M_KIND] = INTRA_4X4
        if s[S_TRANSFORM_8X8] and read_transform(picture):
            row[M_KIND] = INTRA_8X8
        _read_modes(picture, 2 if row[M_TRANSFORM] else 1)
    if s[S_CHROMA]:
        row[M_CHROMA_MODE] = _read_chroma_mode(picture)
    if code == 0:
        read_pattern(picture)
    return read_coefficients(picture)


@subroutine
def read_transform(picture):  # type: ignore[no-untyped-def]
    """Read transform_size_8x8_flag."""
    s, table = picture.slice, picture.macroblocks
    index = _TRANSFORM
    if s[S_LEFT] >= 0:
        index += table[s[S_LEFT], M_TRANSFORM]
    if s[S_ABOVE] >= 0:
        index += table[s[S_ABOVE], M_TRANSFORM]
    flag = read_bin(picture, index)
    table[s[S_MACROBLOCK], M_TRANSFORM] = flag
    return flag


@subroutine
def _read_modes(picture, side):  # type: ignore[no-untyped-def]
    for n in range(0, 16, side * side):
        place = 4 * (n >> 3 << 1 | n >> 1 & 1) + (n >> 2 << 1 & 2 | n & 1)
        predicted = predict_mode(picture, place)
        remainder = np.int64(-1)
        if not read_bin(picture, _MODE_FLAG):
            remainder = read_bin(picture, _MODE_FLAG + 1)
            remainder |= read_bin(picture, _MODE_FLAG + 1) << 1
            remainder |= read_bin(picture, _MODE_FLAG + 1) << 2
        set_mode(picture, place, predicted, remainder, side)


@subroutine
def _read_chroma_mode(picture):  # type: ignore[no-untyped-def]
    """Read intra_chroma_pred_mode; that of other than intra macroblocks is 0."""
    s, table = picture.slice, picture.macroblocks
    index = _CHROMA_MODE
    if s[S_LEFT] >= 0 and table[s[S_LEFT], M_CHROMA_MODE]:
        index += 1
    if s[S_ABOVE] >= 0 and table[s[S_ABOVE], M_CHROMA_MODE]:
        index += 1
    if not read_bin(picture, index):
        return 0
    if not read_bin(picture, _CHROMA_MODE + 3):
        return 1
    return 2 + read_bin(picture, _CHROMA_MODE + 3)


@subroutine
def read_pattern(picture):  # type: ignore[no-untyped-def]
    """Read coded_block_pattern (9.3.3.1.1.4)."""
    s, table = picture.slice, picture.macroblocks
    left = table[s[S_LEFT], M_PATTERN] if s[S_LEFT] >= 0 else 15
    above = table[s[S_ABOVE], M_PATTERN] if s[S_ABOVE] >= 0 else 15
    first = read_bin(picture, _PATTERN + (left >> 1 & 1 ^ 1) + 2 * (above >> 2 & 1 ^ 1))
    second = read_bin(picture, _PATTERN + (first ^ 1) + 2 * (above >> 3 & 1 ^ 1))
    third = read_bin(picture, _PATTERN + (left >> 3 & 1 ^ 1) + 2 * (first ^ 1))
    fourth = read_bin(picture, _PATTERN + (third ^ 1) + 2 * (second ^ 1))
    pattern = first | second << 1 | third << 2 | fourth << 3
    if s[S_CHROMA]:
        left, above = left >> 4, above >> 4
        if read_bin(picture, _PATTERN_CHROMA + (left != 0) + 2 * (above != 0)):
            pattern |= (1 + read_bin(picture, _PATTERN_CHROMA + 4 + (left == 2) + 2 * (above == 2))) << 4
    table[s[S_MACROBLOCK], M_PATTERN] = pattern


@subroutine
def read_coefficients(picture):  # type: ignore[no-untyped-def]
    """Read mb_qp_delta and the residual, where there is any: 0, or a fault's code."""
    s = picture.slice
    row = picture.macroblocks[s[S_MACROBLOCK]]
    if row[M_PATTERN] == 0 and row[M_KIND] != INTRA_16X16:
        s[S_DELTA] = 0
        return 0
    index, count = _QUANTIZER + (s[S_DELTA] != 0), 0
    while read_bin(picture, index):
        index = _QUANTIZER + (3 if count else 2)
        count += 1
        if count > _MOST_DELTAS:
            return BAD_QUANTIZER
    delta = (count + 1) >> 1 if count & 1 else -(count >> 1)
    if not -26 <= delta <= 25:
        return BAD_QUANTIZER
    s[S_DELTA] = delta
    s[S_QUANTIZER] = (s[S_QUANTIZER] + delta + 52) % 52
    row[M_QUANTIZER] = s[S_QUANTIZER]
    return BAD_COEFFICIENT if read_residual(picture) < 0 else 0


@subroutine
def _read_inter(picture, shape):  # type: ignore[no-untyped-def]
    """Read a P macroblock: shape 0 is 16x16, 1 16x8, 2 8x16, 3 8x8."""
    s = picture.slice
    row = picture.macroblocks[s[S_MACROBLOCK]]
    row[M_KIND] = INTER_16X16 + shape
    whole = True
    if shape == INTER_8X8 - INTER_16X16:
        wrong, whole = read_quarters(picture)
    else:
        wrong = read_partitions(picture, shape, LIST_0)
    if wrong:
        return wrong
    return read_inter_residual(picture, whole)


@subroutine
def read_inter_residual(picture, whole):  # type: ignore[no-untyped-def]
    """Read what follows the vectors, ``whole`` where an 8x8 transform is allowed: 0, or a fault's code."""
    s = picture.slice
    read_pattern(picture)
    if picture.macroblocks[s[S_MACROBLOCK], M_PATTERN] & 15 and s[S_TRANSFORM_8X8] and whole:
        read_transform(picture)
    return read_coefficients(picture)
