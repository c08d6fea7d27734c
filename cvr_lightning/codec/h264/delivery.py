"""From scaled coefficients to the exact integers, or to the kept coefficients of the 8x8 DCT.

The residual of a block is C d C^T / 64, where C is the inverse transform (8.5.12.2, 8.5.13.2). Its DCT is
linear in d, so each non-zero coefficient adds one column of a fixed matrix, truncated to what is kept.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from cvr_lightning.codec.arrays import BlockMode
from cvr_lightning.codec.bitstream.kernels import subroutine
from cvr_lightning.codec.fields.dct import BASIS, ZIGZAG
from cvr_lightning.codec.h264.faults import MISSING_REFERENCE
from cvr_lightning.codec.h264.state import (
    COEFFICIENTS,
    DIRECT,
    INTER_8X8,
    INTRA_4X4,
    M_KIND,
    M_SLICE,
    M_TRANSFORM,
    PCM,
    S_COLUMNS,
    S_MACROBLOCK,
    S_PAIRS,
    S_X,
    S_Y,
    SKIPPED,
)

_INVERSE_4X4: Final = np.array([[1, 1, 1, 0.5], [1, 0.5, -1, -1], [1, -0.5, -1, 1], [1, -1, 1, -0.5]])
_INVERSE_8X8: Final = np.array(
    [
        [1, 12 / 8, 1, 10 / 8, 1, 6 / 8, 0.5, 3 / 8],
        [1, 10 / 8, 0.5, -3 / 8, -1, -12 / 8, -1, -6 / 8],
        [1, 6 / 8, -0.5, -12 / 8, -1, 3 / 8, 1, 10 / 8],
        [1, 3 / 8, -1, -6 / 8, 1, 10 / 8, -0.5, -12 / 8],
        [1, -3 / 8, -1, 6 / 8, 1, -10 / 8, -0.5, 12 / 8],
        [1, -6 / 8, -0.5, 12 / 8, -1, -3 / 8, 1, -10 / 8],
        [1, -10 / 8, 0.5, 3 / 8, -1, 12 / 8, -1, 6 / 8],
        [1, -12 / 8, 1, -10 / 8, 1, -6 / 8, 0.5, -3 / 8],
    ]
)
"""(samples, coefficients) of one dimension of the inverse transforms."""


_MODE_SKIPPED: Final = int(BlockMode.SKIPPED)
_MODE_INTER: Final = int(BlockMode.INTER)
_MODE_INTER4V: Final = int(BlockMode.INTER4V)
_MODE_INTRA: Final = int(BlockMode.INTRA)
_MODE_INTRA_PREDICTED: Final = int(BlockMode.INTRA_PREDICTED)


class Fields(NamedTuple):
    """The fields to fill, see :class:`~cvr_lightning.codec.parser.BlockGrid` and ``BlockFields``.

    Attributes:
        rows: (h,) int64.
        columns: (w,) int64.
        scale: (2,) float32.
        slots: (P,) int64, the slot of each packet, -1 for none.
        motion: (S, 2 or 0, h, w) float32.
        residual: (S, C or 0, h, w) float32.
        modes: (S, h, w) uint8.
    """

    rows: npt.NDArray[np.int64]
    columns: npt.NDArray[np.int64]
    scale: npt.NDArray[np.float32]
    slots: npt.NDArray[np.int64]
    motion: npt.NDArray[np.float32]
    residual: npt.NDArray[np.float32]
    modes: npt.NDArray[np.uint8]


class Sink(NamedTuple):
    """Where coefficients go.

    Attributes:
        exact: (M N, 384) int32 scaled coefficients as they are; (0, 384) where they are not asked for.
        luma: (4 M N, K) float32, kept DCT coefficients of each 8x8 block of the grid in raster order.
        chroma: (2 M N, L) float32, those of Cb and Cr of each macroblock.
        luma_columns: (192, K) of :func:`dct_columns`.
        chroma_columns: (192, L).
    """

    exact: npt.NDArray[np.int32]
    luma: npt.NDArray[np.float32]
    chroma: npt.NDArray[np.float32]
    luma_columns: npt.NDArray[np.float32]
    chroma_columns: npt.NDArray[np.float32]


@lru_cache(maxsize=16)
def dct_columns(kept: int) -> npt.NDArray[np.float32]:
    """(192, kept) what a coefficient of 1 adds to the DCT of its 8x8 block, in zigzag order.

    Rows: four 4x4 blocks of 16 coefficients in raster order, then the 64 of an 8x8 block, then 64 samples.
    """
    basis = BASIS.astype(np.float64)
    small = np.zeros((2, 8, 4))
    small[0, :4] = small[1, 4:] = _INVERSE_4X4
    out = np.empty((192, 8, 8))
    row = 0
    for j in range(2):
        for i in range(2):
            for u in range(4):
                for v in range(4):
                    out[row] = np.outer(basis @ small[j, :, u], basis @ small[i, :, v]) / 64
                    row += 1
    for k in range(64):
        u, v = divmod(k, 8)
        out[64 + k] = np.outer(basis @ _INVERSE_8X8[:, u], basis @ _INVERSE_8X8[:, v]) / 64
        out[128 + k] = np.outer(basis[:, u], basis[:, v])
    return np.ascontiguousarray(out[:, ZIGZAG[:kept, 0], ZIGZAG[:kept, 1]].astype(np.float32))


def new_sink(count: int, coefficients: tuple[int, int], exact: bool) -> Sink:
    """A sink of zeros for ``count`` macroblocks, with ``coefficients`` kept of luma and of each chroma."""
    luma, chroma = coefficients
    return Sink(
        np.zeros((count if exact else 0, COEFFICIENTS), np.int32),
        np.zeros((4 * count, luma), np.float32),
        np.zeros((2 * count, chroma), np.float32),
        dct_columns(luma),
        dct_columns(chroma),
    )


@subroutine
def deliver(picture, sink):  # type: ignore[no-untyped-def]
    """Hand over the coefficients of the macroblock in hand."""
    s, pairs = picture.slice, picture.pairs
    number, count = s[S_MACROBLOCK], s[S_PAIRS]
    if len(sink.exact):
        for k in range(count):
            sink.exact[number, pairs[0, k]] = pairs[1, k]
    kept, kept_chroma = sink.luma.shape[1], sink.chroma.shape[1]
    if not kept:
        return
    row = picture.macroblocks[number]
    samples = row[M_KIND] == PCM
    offset = 128 if samples else (64 if row[M_TRANSFORM] else 0)
    chroma_offset = 128 if samples else 0
    width = 2 * s[S_COLUMNS]
    first = 2 * s[S_Y] * width + 2 * s[S_X]
    for k in range(count):
        index, value = pairs[0, k], np.float32(pairs[1, k])
        if index < 256:
            block = index >> 6
            line = sink.luma[first + (block & 1) + (block >> 1) * width]
            column = sink.luma_columns[offset + (index & 63)]
            for t in range(kept):
                line[t] += column[t] * value
        else:
            line = sink.chroma[2 * number + ((index - 256) >> 6)]
            column = sink.chroma_columns[chroma_offset + (index & 63)]
            for t in range(kept_chroma):
                line[t] += column[t] * value


@subroutine
def clear_sink(sink):  # type: ignore[no-untyped-def]
    """Make a sink ready for a picture."""
    for field in (sink.luma, sink.chroma):
        for row in range(len(field)):
            line = field[row]
            for k in range(line.size):
                line[k] = 0


@subroutine
def _missing(picture, distances):  # type: ignore[no-untyped-def]
    """The first macroblock that is predicted from a missing picture, -1 without."""
    height, width = picture.references.shape[1:]
    for which in range(2):
        for y in range(height):
            for x in range(width):
                index = picture.references[which, y, x]
                if index >= 0:
                    number = (y >> 1) * (width >> 1) + (x >> 1)
                    if distances[picture.macroblocks[number, M_SLICE], which, index] == 0:
                        return number
    return -1


@subroutine
def deliver_picture(picture, sink, distances, fields, packet):  # type: ignore[no-untyped-def]
    """Hand over a picture: 0, or the code of a fault and its macroblock."""
    missing = _missing(picture, distances)
    if missing >= 0:
        return MISSING_REFERENCE, missing
    slot = fields.slots[packet]
    if slot >= 0:
        _deliver_modes(picture, distances, fields, fields.motion[slot], fields.modes[slot])
        if fields.residual.shape[1]:
            width = picture.references.shape[2]
            _deliver_residual(sink, width, fields, fields.modes[slot], fields.residual[slot])
    return 0, 0


@subroutine
def _deliver_modes(picture, distances, fields, motion, modes):  # type: ignore[no-untyped-def]
    """Modes and motion of the blocks of the grid: the mean of four vectors, per frame of distance.

    The vectors are those of list 0 or, in blocks of B slices without it, of list 1, whose distance is
    negative if the reference comes later.
    """
    table, vectors, width = picture.macroblocks, picture.motion, picture.references.shape[2]
    for y in range(len(fields.rows)):
        row = fields.rows[y]
        for x in range(len(fields.columns)):
            column = fields.columns[x]
            number = (row >> 1) * (width >> 1) + (column >> 1)
            kind = table[number, M_KIND]
            if kind >= INTRA_4X4:
                modes[y, x] = _MODE_INTRA if kind == PCM else _MODE_INTRA_PREDICTED
                continue
            j, i = 2 * row, 2 * column
            sides = 0
            which = 0 if picture.references[0, row, column] >= 0 else 1
            for k in range(4):
                y4, x4 = j + (k >> 1), i + (k & 1)
                sides |= vectors[which, y4, x4, 0] | vectors[which, y4, x4, 1]
            mode = _MODE_INTER4V if kind in (INTER_8X8, DIRECT) else _MODE_INTER
            modes[y, x] = _MODE_SKIPPED if kind == SKIPPED and sides == 0 else mode
            if sides == 0 or not motion.shape[0]:
                continue
            distance = distances[table[number, M_SLICE], which, picture.references[which, row, column]]
            for axis in range(2):
                total = np.int64(0)
                for k in range(4):
                    total += vectors[which, j + (k >> 1), i + (k & 1), axis]
                motion[axis, y, x] = (
                    np.float32(total) * np.float32(0.25) * fields.scale[axis] / np.float32(distance)
                )


@subroutine
def _deliver_residual(sink, width, fields, modes, residual):  # type: ignore[no-untyped-def]
    """Coefficients of the blocks of the grid, chroma where it covers luma."""
    kept, kept_chroma = sink.luma.shape[1], sink.chroma.shape[1]
    for y in range(len(fields.rows)):
        row = fields.rows[y]
        coded = False
        for x in range(len(fields.columns)):
            coded = coded or modes[y, x] != _MODE_SKIPPED
        if not coded:
            continue
        for k in range(kept):
            line = residual[k, y]
            for x in range(len(fields.columns)):
                line[x] = sink.luma[row * width + fields.columns[x], k]
        for k in range(kept_chroma):
            cb, cr = residual[kept + k, y], residual[kept + kept_chroma + k, y]
            for x in range(len(fields.columns)):
                block = (row >> 1) * width + (fields.columns[x] >> 1) * 2
                cb[x] = sink.chroma[block, k]
                cr[x] = sink.chroma[block + 1, k]
