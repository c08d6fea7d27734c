"""Macroblocks of CAVLC slices (ITU-T H.264, 7.3.4 and 7.3.5)."""

from __future__ import annotations

from cvr_lightning.codec.bitstream.kernels import fault, read_bits, read_signed, read_unsigned, subroutine
from cvr_lightning.codec.h264.bidirectional import LIST_0
from cvr_lightning.codec.h264.cavlc import read_residual
from cvr_lightning.codec.h264.cavlc_motion import read_partitions, read_quarter_motion
from cvr_lightning.codec.h264.faults import (
    BAD_INTRA_MODE,
    BAD_PATTERN,
    BAD_QUANTIZER,
    BAD_TYPE,
)
from cvr_lightning.codec.h264.intra import predict_mode, set_mode
from cvr_lightning.codec.h264.slice_header import P
from cvr_lightning.codec.h264.state import (
    INTER_8X8,
    INTER_16X16,
    INTRA_4X4,
    INTRA_8X8,
    INTRA_16X16,
    M_CHROMA_MODE,
    M_KIND,
    M_MODE,
    M_PATTERN,
    M_QUANTIZER,
    M_TRANSFORM,
    PCM,
    S_CHROMA,
    S_MACROBLOCK,
    S_PAIRS,
    S_QUANTIZER,
    S_TRANSFORM_8X8,
    S_TYPE,
)
from cvr_lightning.codec.h264.tables import PATTERNS, PATTERNS_GRAY

_LARGEST_TYPE_I = 25


@subroutine
def read_macroblock(picture, position):  # type: ignore[no-untyped-def]
    """Read macroblock_layer (7.3.5) of the macroblock in hand."""
    s = picture.slice
    position, code = read_unsigned(picture.words, position)
    if s[S_TYPE] == P:
        if code < 5:
            return _read_inter(picture, position, min(code, 3), code == 4)
        code -= 5
    return read_intra(picture, position, code)


@subroutine
def read_intra(picture, position, code):  # type: ignore[no-untyped-def]
    """Read an intra macroblock with mb_type ``code`` of I slices."""
    if code > _LARGEST_TYPE_I:
        return fault(BAD_TYPE, position)
    s, words = picture.slice, picture.words
    row = picture.macroblocks[s[S_MACROBLOCK]]
    if code == _LARGEST_TYPE_I:
        return read_pcm(picture, position)
    if code:
        row[M_KIND], row[M_MODE] = INTRA_16X16, (code - 1) & 3
        row[M_PATTERN] = (15 if code > 12 else 0) | ((code - 1) // 4 % 3) << 4
    else:
        row[M_KIND] = INTRA_4X4
        if s[S_TRANSFORM_8X8]:
            row[M_TRANSFORM] = read_bits(words, position, 1)
            position += 1
            if row[M_TRANSFORM]:
                row[M_KIND] = INTRA_8X8
        position = _read_modes(picture, position, 2 if row[M_TRANSFORM] else 1)
    if s[S_CHROMA]:
        position, mode = read_unsigned(words, position)
        if mode > 3:
            return fault(BAD_INTRA_MODE, position)
        row[M_CHROMA_MODE] = mode
    if code == 0:
        position = _read_pattern(picture, position, 1)
        if position < 0:
            return position
    return _read_residual(picture, position)


@subroutine
def _read_modes(picture, position, side):  # type: ignore[no-untyped-def]
    """Read the prediction modes of blocks of ``side`` x ``side`` 4x4 blocks."""
    for n in range(0, 16, side * side):
        j, i = n >> 3 << 1 | n >> 1 & 1, n >> 2 << 1 & 2 | n & 1
        place = 4 * j + i
        predicted = predict_mode(picture, place)
        bits = read_bits(picture.words, position, 4)
        if bits >> 3:
            position += 1
            set_mode(picture, place, predicted, -1, side)
        else:
            position += 4
            set_mode(picture, place, predicted, bits, side)
    return position


@subroutine
def read_pcm(picture, position):  # type: ignore[no-untyped-def]
    """Read the samples of an I_PCM macroblock, blocks of 8x8 in raster order."""
    s = picture.slice
    number = s[S_MACROBLOCK]
    row = picture.macroblocks[number]
    row[M_KIND], row[M_PATTERN], row[M_QUANTIZER] = PCM, 47, 0
    picture.counts[number] = 16
    position = (position + 7) & ~7
    size = 384 if s[S_CHROMA] else 256
    for k in range(size):
        if k < 256:
            y, x = k >> 4, k & 15
            index = (y >> 3) * 128 + (x >> 3) * 64 + (y & 7) * 8 + (x & 7)
        else:
            index = k
        picture.pairs[0, k] = index
        picture.pairs[1, k] = read_bits(picture.words, position, 8)
        position += 8
    s[S_PAIRS] = size
    return position


@subroutine
def _read_pattern(picture, position, intra):  # type: ignore[no-untyped-def]
    """Read coded_block_pattern."""
    s = picture.slice
    position, code = read_unsigned(picture.words, position)
    if code > (47 if s[S_CHROMA] else 15):
        return fault(BAD_PATTERN, position)
    pattern = PATTERNS[intra, code] if s[S_CHROMA] else PATTERNS_GRAY[intra, code]
    picture.macroblocks[s[S_MACROBLOCK], M_PATTERN] = pattern
    return position


@subroutine
def _read_residual(picture, position):  # type: ignore[no-untyped-def]
    """Read mb_qp_delta and the residual, where there is any."""
    s = picture.slice
    row = picture.macroblocks[s[S_MACROBLOCK]]
    if row[M_PATTERN] == 0 and row[M_KIND] != INTRA_16X16:
        return position
    position, delta = read_signed(picture.words, position)
    if not -26 <= delta <= 25:
        return fault(BAD_QUANTIZER, position)
    s[S_QUANTIZER] = (s[S_QUANTIZER] + delta + 52) % 52
    row[M_QUANTIZER] = s[S_QUANTIZER]
    return read_residual(picture, position)


@subroutine
def _read_inter(picture, position, shape, first_reference):  # type: ignore[no-untyped-def]
    """Read a P macroblock: shape 0 is 16x16, 1 16x8, 2 8x16, 3 8x8."""
    picture.macroblocks[picture.slice[S_MACROBLOCK], M_KIND] = INTER_16X16 + shape
    whole = True
    if shape == INTER_8X8 - INTER_16X16:
        position, whole = _read_quarters(picture, position, first_reference)
    else:
        position = read_partitions(picture, position, shape, LIST_0)
    return read_inter_residual(picture, position, whole) if position >= 0 else position


@subroutine
def _read_quarters(picture, position, first_reference):  # type: ignore[no-untyped-def]
    """Read a P_8x8 macroblock: position, whether no quarter is split."""
    splits = 0
    for n in range(4):
        position, split = read_unsigned(picture.words, position)
        if split > 3:
            return fault(BAD_TYPE, position), False
        splits |= split << (2 * n)
    return read_quarter_motion(picture, position, splits, LIST_0, first_reference), splits == 0


@subroutine
def read_inter_residual(picture, position, whole):  # type: ignore[no-untyped-def]
    """Read what follows the vectors, ``whole`` where an 8x8 transform is allowed."""
    s = picture.slice
    row = picture.macroblocks[s[S_MACROBLOCK]]
    position = _read_pattern(picture, position, 0)
    if position < 0:
        return position
    if row[M_PATTERN] & 15 and s[S_TRANSFORM_8X8] and whole:
        row[M_TRANSFORM] = read_bits(picture.words, position, 1)
        position += 1
    return _read_residual(picture, position)
