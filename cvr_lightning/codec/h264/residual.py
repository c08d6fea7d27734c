"""From levels to the scaled coefficients that the inverse transforms take (ITU-T H.264, 8.5)."""

from __future__ import annotations

from typing import Final

import numpy as np

from cvr_lightning.codec.bitstream.kernels import inlined, subroutine
from cvr_lightning.codec.h264.state import (
    LEVELS,
    S_CB_OFFSET,
    S_CR_OFFSET,
    S_PAIRS,
    S_QUANTIZER,
)
from cvr_lightning.codec.h264.tables import CHROMA_QUANTIZERS, ZIGZAG_4X4, ZIGZAG_8X8

RASTER: Final = np.array([0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15], np.int64)
"""Place in raster order of each 4x4 luma block in decoding order, and the other way round."""


@inlined
def chroma_quantizer(picture, plane):  # type: ignore[no-untyped-def]
    """QP of Cb (0) or Cr (1) (8.5.8)."""
    s = picture.slice
    offset = s[S_CR_OFFSET] if plane else s[S_CB_OFFSET]
    return CHROMA_QUANTIZERS[min(max(s[S_QUANTIZER] + offset, 0), 51)]


@inlined
def _append(picture, index, value):  # type: ignore[no-untyped-def]
    n = picture.slice[S_PAIRS]
    picture.pairs[0, n], picture.pairs[1, n] = index, value
    picture.slice[S_PAIRS] = n + 1


@subroutine
def scale_4x4(picture, count, first, base, which, quantizer):  # type: ignore[no-untyped-def]
    """Scale the levels of a 4x4 block (8.5.12.1), whose places count from ``first``."""
    scratch, scale, pairs = picture.scratch, picture.scales[which, quantizer % 6], picture.pairs
    shift = quantizer // 6
    n = picture.slice[S_PAIRS]
    for k in range(count):
        place = scratch[k] + first
        value = scratch[LEVELS + k] * scale[place]
        if shift >= 4:
            value <<= shift - 4
        else:
            value = (value + (1 << (3 - shift))) >> (4 - shift)
        pairs[0, n], pairs[1, n] = base + ZIGZAG_4X4[place], value
        n += 1
    picture.slice[S_PAIRS] = n


@subroutine
def scale_8x8(picture, count, step, offset, base, which, quantizer):  # type: ignore[no-untyped-def]
    """Scale the levels of an 8x8 block (8.5.13.1); in CAVLC every fourth one from ``offset`` on."""
    scratch, scale, pairs = picture.scratch, picture.scales[which, quantizer % 6], picture.pairs
    shift = quantizer // 6
    n = picture.slice[S_PAIRS]
    for k in range(count):
        place = step * scratch[k] + offset
        value = scratch[LEVELS + k] * scale[place]
        if shift >= 6:
            value <<= shift - 6
        else:
            value = (value + (1 << (5 - shift))) >> (6 - shift)
        pairs[0, n], pairs[1, n] = base + ZIGZAG_8X8[place], value
        n += 1
    picture.slice[S_PAIRS] = n


@subroutine
def _spread(picture, count, size):  # type: ignore[no-untyped-def]
    """Levels at their places in ``scratch[LEVELS : LEVELS + size]``, in zigzag order."""
    scratch = picture.scratch
    for k in range(count, size):
        scratch[LEVELS + k] = 0
    for k in range(count - 1, -1, -1):  # places ascend, so none is overwritten before it is moved
        place, level = scratch[k], scratch[LEVELS + k]
        scratch[LEVELS + k] = 0
        scratch[LEVELS + place] = level


@subroutine
def scale_luma_dc(picture, count, which, quantizer):  # type: ignore[no-untyped-def]
    """Transform and scale the DC levels of an Intra16x16 macroblock (8.5.10)."""
    _spread(picture, count, 16)
    scratch = picture.scratch
    for k in range(16):
        scratch[ZIGZAG_4X4[k]] = scratch[LEVELS + k]
    for lines in range(2):
        step, line = (1, 4) if lines == 0 else (4, 1)
        for k in range(4):
            o = line * k
            a, b, c, d = scratch[o], scratch[o + step], scratch[o + 2 * step], scratch[o + 3 * step]
            scratch[o], scratch[o + step] = a + b + c + d, a + b - c - d
            scratch[o + 2 * step], scratch[o + 3 * step] = a - b - c + d, a - b + c - d
    scale, shift = picture.scales[which, quantizer % 6, 0], quantizer // 6
    for k in range(16):
        value = scratch[k] * scale
        if shift >= 6:
            value <<= shift - 6
        else:
            value = (value + (1 << (5 - shift))) >> (6 - shift)
        if value:
            _append(picture, 16 * RASTER[k], value)


@subroutine
def scale_chroma_dc(picture, count, plane, which, quantizer):  # type: ignore[no-untyped-def]
    """Transform and scale the DC levels of Cb (0) or Cr (1) (8.5.11)."""
    _spread(picture, count, 4)
    scratch = picture.scratch
    a, b, c, d = scratch[LEVELS], scratch[LEVELS + 1], scratch[LEVELS + 2], scratch[LEVELS + 3]
    scratch[0], scratch[1] = a + b + c + d, a - b + c - d
    scratch[2], scratch[3] = a + b - c - d, a - b - c + d
    scale = picture.scales[which, quantizer % 6, 0]
    for k in range(4):
        value = ((scratch[k] * scale) << (quantizer // 6)) >> 5
        if value:
            _append(picture, 256 + 64 * plane + 16 * k, value)
