"""CABAC: the residual of a macroblock and its coded block flags (ITU-T H.264, 7.3.5.3 and 9.3.3.1.1.9)."""

from __future__ import annotations

import numpy as np

from cvr_lightning.codec.bitstream.kernels import subroutine
from cvr_lightning.codec.h264.cabac import (
    CHROMA_AC,
    CHROMA_DC,
    LUMA_4X4,
    LUMA_8X8,
    LUMA_AC,
    LUMA_DC,
    decision,
    read_block,
)
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
    M_DC,
    M_KIND,
    M_PATTERN,
    M_TRANSFORM,
    S_ABOVE,
    S_CHROMA,
    S_LEFT,
    S_MACROBLOCK,
    S_QUANTIZER,
)

_CODED_FLAG = 85


@subroutine
def _dc_coded(picture, plane, intra):  # type: ignore[no-untyped-def]
    """Read coded_block_flag of a DC block: plane 0 is luma, 1 Cb, 2 Cr."""
    s, table = picture.slice, picture.macroblocks
    a = table[s[S_LEFT], M_DC] >> plane & 1 if s[S_LEFT] >= 0 else intra
    b = table[s[S_ABOVE], M_DC] >> plane & 1 if s[S_ABOVE] >= 0 else intra
    index = _CODED_FLAG + (12 if plane else 0) + a + 2 * b
    coded = decision(picture, index)
    table[s[S_MACROBLOCK], M_DC] |= coded << plane
    return coded


@subroutine
def _coded(picture, category, place, intra):  # type: ignore[no-untyped-def]
    """Read coded_block_flag of the block at a place of ``counts``."""
    s, counts = picture.slice, picture.counts
    number = s[S_MACROBLOCK]
    side = 4 if place < 16 else 2
    inside = place & 15 if place < 16 else place & 3
    a = b = np.int64(intra)
    if inside % side:
        a = np.int64(counts[number, place - 1] != 0)
    elif s[S_LEFT] >= 0:
        a = np.int64(counts[s[S_LEFT], place + side - 1] != 0)
    if inside >= side:
        b = np.int64(counts[number, place - side] != 0)
    elif s[S_ABOVE] >= 0:
        b = np.int64(counts[s[S_ABOVE], place + side * (side - 1)] != 0)
    index = _CODED_FLAG + 4 * category + a + 2 * b
    return decision(picture, index)


@subroutine
def _read_luma(picture, kind, pattern, eights):  # type: ignore[no-untyped-def]
    s = picture.slice
    quantizer, number = s[S_QUANTIZER], s[S_MACROBLOCK]
    intra = 1 if kind >= INTRA_4X4 else 0
    which = 0 if intra else 3
    first, category = 0, LUMA_4X4
    if kind == INTRA_16X16:
        if _dc_coded(picture, 0, 1):
            count = read_block(picture, LUMA_DC, 16)
            if count < 0:
                return -1
            scale_luma_dc(picture, count, which, quantizer)
        first, category = 1, LUMA_AC
    if eights:
        for n in range(0, 16, 4):
            if pattern >> (n >> 2) & 1:
                count = read_block(picture, LUMA_8X8, 64)
                if count < 0:
                    return -1
                scale_8x8(picture, count, 1, 0, 16 * n, 6 if intra else 7, quantizer)
                place = RASTER[n]
                picture.counts[number, place] = picture.counts[number, place + 1] = 1
                picture.counts[number, place + 4] = picture.counts[number, place + 5] = 1
        return 0
    for n in range(16):
        if pattern >> (n >> 2) & 1 and _coded(picture, category, RASTER[n], intra):
            count = read_block(picture, category, 16 - first)
            if count < 0:
                return -1
            picture.counts[number, RASTER[n]] = count
            scale_4x4(picture, count, first, 16 * n, which, quantizer)
    return 0


@subroutine
def _read_chroma(picture, kind, pattern):  # type: ignore[no-untyped-def]
    number = picture.slice[S_MACROBLOCK]
    intra = 1 if kind >= INTRA_4X4 else 0
    which = 1 if intra else 4
    for plane in range(2):
        if _dc_coded(picture, 1 + plane, intra):
            count = read_block(picture, CHROMA_DC, 4)
            if count < 0:
                return -1
            scale_chroma_dc(picture, count, plane, which + plane, chroma_quantizer(picture, plane))
    if pattern >> 5 == 0:
        return 0
    for plane in range(2):
        quantizer = chroma_quantizer(picture, plane)
        for n in range(4):
            place = 16 + 4 * plane + n
            if _coded(picture, CHROMA_AC, place, intra):
                count = read_block(picture, CHROMA_AC, 15)
                if count < 0:
                    return -1
                picture.counts[number, place] = count
                scale_4x4(picture, count, 1, 256 + 64 * plane + 16 * n, which + plane, quantizer)
    return 0


@subroutine
def read_residual(picture):  # type: ignore[no-untyped-def]
    """Read the residual of the macroblock in hand into ``picture.pairs``; -1 where it has no code."""
    row = picture.macroblocks[picture.slice[S_MACROBLOCK]]
    kind, pattern = np.int64(row[M_KIND]), np.int64(row[M_PATTERN])
    result = _read_luma(picture, kind, pattern & 15, row[M_TRANSFORM] != 0)
    if result == 0 and picture.slice[S_CHROMA] and pattern >> 4:
        result = _read_chroma(picture, kind, pattern)
    return result
