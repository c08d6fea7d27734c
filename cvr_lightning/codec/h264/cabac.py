"""The arithmetic decoder of CABAC (ITU-T H.264, 9.3.1.2 and 9.3.3.2) and its residual blocks."""

from __future__ import annotations

from typing import Final

import numpy as np

from cvr_lightning.codec.bitstream.kernels import PADDING_WORDS, inlined, kernel, leading_zeros, window
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
_LONGEST_SUFFIX: Final = 16
_LEAST_AHEAD: Final = 8


@kernel
def start(words, engine, position):  # type: ignore[no-untyped-def]
    """Initialize the decoder at a byte (9.3.1.2)."""
    engine[E_RANGE] = 510
    engine[E_OFFSET] = window(words, position)
    engine[E_AHEAD] = 23
    engine[E_NEXT] = position + 32


@kernel
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
    position = min(engine[E_NEXT], 32 * (words.size - PADDING_WORDS))
    engine[E_OFFSET] = offset << 32 | window(words, position)
    engine[E_AHEAD] = ahead + 32
    engine[E_NEXT] += 32


@inlined
def decision(words, engine, contexts, index):  # type: ignore[no-untyped-def]
    """Decode one bin with a context (9.3.3.2.1)."""
    state = np.int64(contexts[index])
    span, ahead, offset = engine[E_RANGE], engine[E_AHEAD], engine[E_OFFSET]
    low = RANGES[state << 2 | (span >> 6 & 3)]
    span -= low
    scaled = span << ahead
    other = (scaled - 1 - offset) >> 63  # -1 where the bin is the less probable one
    offset -= scaled & other
    span += (low - span) & other
    contexts[index] = TRANSITIONS[state + (other & 128)]
    shift = leading_zeros(span) - 55
    ahead -= shift
    engine[E_RANGE] = span << shift
    if ahead < _LEAST_AHEAD:
        _refill(words, engine, offset, ahead)
    else:
        engine[E_OFFSET], engine[E_AHEAD] = offset, ahead
    return (state ^ other) & 1


@inlined
def read_bin(picture, index):  # type: ignore[no-untyped-def]
    """Decode one bin of a syntax element with a context."""
    return decision(picture.words, picture.engine, picture.contexts, index)


@inlined
def bypass(words, engine):  # type: ignore[no-untyped-def]
    """Decode one equiprobable bin (9.3.3.2.3)."""
    ahead, offset = engine[E_AHEAD] - 1, engine[E_OFFSET]
    scaled = engine[E_RANGE] << ahead
    other = (scaled - 1 - offset) >> 63
    offset -= scaled & other
    if ahead < _LEAST_AHEAD:
        _refill(words, engine, offset, ahead)
    else:
        engine[E_OFFSET], engine[E_AHEAD] = offset, ahead
    return -other


@kernel
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
    if ahead < _LEAST_AHEAD:
        _refill(words, engine, offset, ahead)
    else:
        engine[E_AHEAD] = ahead
    return 0


@kernel
def _read_size(words, engine, contexts, first, greater, most):  # type: ignore[no-untyped-def]
    """Read coeff_abs_level_minus1 behind its first bin: the size of the level, 0 if it is too large."""
    index = first + 5 + min(greater, most)
    size = 2
    while size < 15 and decision(words, engine, contexts, index):
        size += 1
    if size < 15:
        return size
    length = 0
    while bypass(words, engine):
        size += 1 << length
        length += 1
        if length > _LONGEST_SUFFIX:
            return 0
    while length:
        length -= 1
        size += bypass(words, engine) << length
    return size


@kernel
def read_block(words, engine, contexts, scratch, category, most):  # type: ignore[no-untyped-def]
    """Read a coded residual_block_cabac (7.3.5.3.3) of ``most`` coefficients; returns the number of levels.

    ``scratch`` takes places, ascending, and levels. The number is -1 where a level has no code.
    """
    significant, last, first = _SIGNIFICANT[category], _LAST[category], _SIZE[category]
    count = 0
    k = 0
    while k < most - 1:
        if category == LUMA_8X8:
            a, b = SIGNIFICANCE_8X8[0, k], SIGNIFICANCE_8X8[1, k]
        else:
            a = b = np.int64(k)
        if decision(words, engine, contexts, significant + a):
            scratch[count] = k
            count += 1
            if decision(words, engine, contexts, last + b):
                break
        k += 1
    if k == most - 1:
        scratch[count] = k
        count += 1
    ones, greater = 1, 0
    limit = 3 if category == CHROMA_DC else 4
    for i in range(count - 1, -1, -1):
        size = 1
        if decision(words, engine, contexts, first + (0 if greater else min(4, ones))):
            size = _read_size(words, engine, contexts, first, greater, limit)
            if size == 0:
                return -1
            greater += 1
        else:
            ones += 1
        scratch[LEVELS + i] = -size if bypass(words, engine) else size
    return count
