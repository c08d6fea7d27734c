"""The arithmetic decoder of CABAC (ITU-T H.264, 9.3.1.2 and 9.3.3.2) and its residual blocks."""

from __future__ import annotations

from typing import Final

import numpy as np

from cvr_lightning.codec.bitstream.kernels import PADDING_WORDS, inlined, leading_zeros, subroutine, window
from cvr_lightning.codec.h264.state import LEVELS
from cvr_lightning.codec.h264.tables import CONTEXTS, RANGES, SIGNIFICANCE_8X8, TRANSITIONS

E_RANGE: Final = 0
E_OFFSET: Final = 1
E_AHEAD: Final = 2
E_NEXT: Final = 3
"""Of Picture.engine: codIRange; codIOffset and bits ahead of it; their number; the next bit."""
LUMA_DC: Final = 0
LUMA_AC: Final = 1
LUMA_4X4: Final = 2
CHROMA_DC: Final = 3
CHROMA_AC: Final = 4
LUMA_8X8: Final = 5
"""ctxBlockCat (Table 9-42)."""
_SIGNIFICANT: Final = np.array([105, 120, 134, 149, 152, 402], np.int64)
_LAST: Final = np.array([166, 181, 195, 210, 213, 417], np.int64)
_SIZE: Final = np.array([227, 237, 247, 257, 266, 426], np.int64)
_LONGEST_PREFIX: Final = 15
_LONGEST_SUFFIX: Final = 16
_LEAST_AHEAD: Final = 8


@subroutine
def start(words, engine, position):  # type: ignore[no-untyped-def]
    """Initialize the decoder at a byte (9.3.1.2)."""
    engine[E_RANGE] = 510
    engine[E_OFFSET] = window(words, position)
    engine[E_AHEAD] = 23
    engine[E_NEXT] = position + 32


@subroutine
def initialize_contexts(contexts, column, quantizer):  # type: ignore[no-untyped-def]
    """Initialize all contexts (9.3.1.1): column 0 for I slices, 1 + cabac_init_idc for others."""
    for i in range(contexts.size):
        state = (CONTEXTS[i, column, 0] * quantizer >> 4) + CONTEXTS[i, column, 1]
        state = min(max(state, 1), 126)
        contexts[i] = (63 - state) << 1 if state < 64 else (state - 64) << 1 | 1


@inlined
def position_of(engine):  # type: ignore[no-untyped-def]
    """Bits that the decoder has taken in."""
    return engine[E_NEXT] - engine[E_AHEAD]


@inlined
def _refill(words, engine, offset, ahead):  # type: ignore[no-untyped-def]
    """Take in 32 more bits if few are ahead: offset, ahead."""
    if ahead >= _LEAST_AHEAD:
        return offset, ahead
    position = min(engine[E_NEXT], 32 * (words.size - PADDING_WORDS))
    engine[E_NEXT] += 32
    return offset << 32 | window(words, position), ahead + 32


@inlined
def _decide(words, engine, contexts, index, span, offset, ahead):  # type: ignore[no-untyped-def]
    """Decode one bin with a context (9.3.3.2.1): the bin, then range, offset and bits ahead behind it."""
    state = np.int64(contexts[index])
    low = RANGES[state << 2 | (span >> 6 & 3)]
    span -= low
    scaled = span << ahead
    other = (scaled - 1 - offset) >> 63  # -1 where the bin is the less probable one
    offset -= scaled & other
    span += (low - span) & other
    contexts[index] = TRANSITIONS[state + (other & 128)]
    shift = leading_zeros(span) - 55
    offset, ahead = _refill(words, engine, offset, ahead - shift)
    return (state ^ other) & 1, span << shift, offset, ahead


@inlined
def _halve(words, engine, span, offset, ahead):  # type: ignore[no-untyped-def]
    """Decode one equiprobable bin (9.3.3.2.3): -1 or 0, offset and bits ahead behind it."""
    ahead -= 1
    scaled = span << ahead
    other = (scaled - 1 - offset) >> 63
    offset, ahead = _refill(words, engine, offset - (scaled & other), ahead)
    return other, offset, ahead


@inlined
def decision(picture, index):  # type: ignore[no-untyped-def]
    """Decode one bin with a context."""
    engine = picture.engine
    value, engine[E_RANGE], engine[E_OFFSET], engine[E_AHEAD] = _decide(
        picture.words, engine, picture.contexts, index, engine[E_RANGE], engine[E_OFFSET], engine[E_AHEAD]
    )
    return value


@subroutine
def read_bin(picture, index):  # type: ignore[no-untyped-def]
    """Decode one bin of a syntax element; :func:`decision`, but compiled once."""
    return decision(picture, index)


@inlined
def bypass(picture):  # type: ignore[no-untyped-def]
    """Decode one equiprobable bin."""
    engine = picture.engine
    other, engine[E_OFFSET], engine[E_AHEAD] = _halve(
        picture.words, engine, engine[E_RANGE], engine[E_OFFSET], engine[E_AHEAD]
    )
    return -other


@subroutine
def read_suffix(picture, order):  # type: ignore[no-untyped-def]
    """Read an Exp-Golomb suffix of UEGk (9.3.2.3), -1 if it is too long."""
    value, length = 0, order
    while bypass(picture):
        value += 1 << length
        length += 1
        if length > _LONGEST_SUFFIX:
            return -1
    while length:
        length -= 1
        value += bypass(picture) << length
    return value


@subroutine
def terminate(words, engine):  # type: ignore[no-untyped-def]
    """Decode the bin before the end of a slice or PCM samples (9.3.3.2.2.3).

    Where it is 1, the last bit taken in is rbsp_stop_one_bit, or the one before the alignment of the samples.
    """
    span, ahead, offset = engine[E_RANGE] - 2, engine[E_AHEAD], engine[E_OFFSET]
    if offset >= span << ahead:
        return 1
    shift = leading_zeros(span) - 55
    ahead -= shift
    engine[E_RANGE] = span << shift
    engine[E_OFFSET], engine[E_AHEAD] = _refill(words, engine, offset, ahead)
    return 0


@subroutine
def read_block(picture, category, most):  # type: ignore[no-untyped-def]
    """Read a coded residual_block_cabac (7.3.5.3.3) of ``most`` coefficients; returns the number of levels.

    ``picture.scratch`` takes places, ascending, and levels. The number is -1 where a level has no code.
    """
    words, engine, contexts, scratch = picture.words, picture.engine, picture.contexts, picture.scratch
    span, offset, ahead = engine[E_RANGE], engine[E_OFFSET], engine[E_AHEAD]
    significant, last = _SIGNIFICANT[category], _LAST[category]
    count = 0
    k = 0
    while k < most - 1:
        a, b = (SIGNIFICANCE_8X8[0, k], SIGNIFICANCE_8X8[1, k]) if category == LUMA_8X8 else (k, k)
        coded, span, offset, ahead = _decide(words, engine, contexts, significant + a, span, offset, ahead)
        if coded:
            scratch[count] = k
            count += 1
            ends, span, offset, ahead = _decide(words, engine, contexts, last + b, span, offset, ahead)
            if ends:
                break
        k += 1
    if k == most - 1:
        scratch[count] = k
        count += 1
    engine[E_RANGE], engine[E_OFFSET], engine[E_AHEAD] = span, offset, ahead
    return _read_levels(picture, category, count)


@subroutine
def _read_levels(picture, category, count):  # type: ignore[no-untyped-def]
    """Read coeff_abs_level_minus1 and coeff_sign_flag of ``count`` levels; returns ``count`` or -1."""
    words, engine, contexts, scratch = picture.words, picture.engine, picture.contexts, picture.scratch
    span, offset, ahead = engine[E_RANGE], engine[E_OFFSET], engine[E_AHEAD]
    first, most = _SIZE[category], 3 if category == CHROMA_DC else 4
    ones, greater = 1, 0
    for i in range(count - 1, -1, -1):
        size, index = 1, first + (0 if greater else min(4, ones))
        more, span, offset, ahead = _decide(words, engine, contexts, index, span, offset, ahead)
        if more:
            index = first + 5 + min(greater, most)
            greater += 1
            while more and size < _LONGEST_PREFIX:
                size += 1
                if size < _LONGEST_PREFIX:
                    more, span, offset, ahead = _decide(words, engine, contexts, index, span, offset, ahead)
            if size == _LONGEST_PREFIX:
                engine[E_RANGE], engine[E_OFFSET], engine[E_AHEAD] = span, offset, ahead
                suffix = read_suffix(picture, 0)
                if suffix < 0:
                    return -1
                size += suffix
                offset, ahead = engine[E_OFFSET], engine[E_AHEAD]
        else:
            ones += 1
        sign, offset, ahead = _halve(words, engine, span, offset, ahead)
        scratch[LEVELS + i] = (size ^ sign) - sign
    engine[E_RANGE], engine[E_OFFSET], engine[E_AHEAD] = span, offset, ahead
    return count
