"""What the kernels of the macroblock layer share: the picture, the slice and the macroblock in hand."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from cvr_lightning.codec.bitstream.kernels import subroutine

# Kinds of macroblocks.
SKIPPED: Final = 0
INTER_16X16: Final = 1
INTER_16X8: Final = 2
INTER_8X16: Final = 3
INTER_8X8: Final = 4
DIRECT: Final = 5
INTRA_4X4: Final = 6
INTRA_8X8: Final = 7
INTRA_16X16: Final = 8
PCM: Final = 9

# Columns of Picture.macroblocks.
(
    M_KIND, M_SLICE, M_QUANTIZER, M_PATTERN, M_DC, M_TRANSFORM, M_CHROMA_MODE, M_MODE, M_DIRECT,
) = range(9)  # fmt: skip
MACROBLOCK: Final = 9

# Of Picture.slice: the slice in hand, then the macroblock in hand.
(
    S_TYPE, S_NUMBER, S_COLUMNS, S_ROWS, S_CHROMA, S_TRANSFORM_8X8, S_CONSTRAINED, S_DIRECT_8X8,
    S_REFERENCES_0, S_REFERENCES_1, S_QUANTIZER, S_DELTA, S_CB_OFFSET, S_CR_OFFSET, S_SPATIAL,
    S_MACROBLOCK, S_X, S_Y, S_LEFT, S_ABOVE, S_RIGHT, S_CORNER, S_PAIRS, S_BIT,
) = range(24)  # fmt: skip
SLICE_STATE: Final = 24
LEVELS: Final = 64
"""Where levels begin in Picture.scratch; their places in the block come first."""
COEFFICIENTS: Final = 384
"""Of a macroblock: luma blocks in decoding order, each in raster order, then four blocks of Cb, of Cr."""


class Picture(NamedTuple):
    """The arrays of a picture of M x N macroblocks.

    Attributes:
        words: The slice in hand.
        engine: (3,) of the arithmetic decoder: range, offset, bits of the offset that are ahead; next
            position.
        contexts: (460,) uint8, state << 1 | value.
        slice: (SLICE_STATE,) int64.
        scales: (8, 6, 64) int64 LevelScale in force.
        scratch: (128,) int64, places and levels of the block in hand.
        pairs: (2, 400) int64, index and value of the non-zero coefficients of the macroblock in hand.
        macroblocks: (M N, MACROBLOCK) int32.
        counts: (M N, 24) uint8, coefficients of each 4x4 block in raster order: luma, Cb, Cr.
        modes: (M N, 16) int8, intra prediction mode of each 4x4 luma block in raster order.
        motion: (2, 4 M, 4 N, 2) int16, vectors of each list, in quarter samples.
        references: (2, 2 M, 2 N) int8, indices into the lists, -1 where a list is not used.
        differences: (2, 4 M, 4 N, 2) uint8, sizes of the vector differences, at most 255.
        blank: int64, the bytes of the arrays that begin as zeros: to clear them at once is quick.
        absent: int64, the bytes of the references, which begin as -1.
    """

    words: npt.NDArray[np.int64]
    engine: npt.NDArray[np.int64]
    contexts: npt.NDArray[np.uint8]
    slice: npt.NDArray[np.int64]
    scales: npt.NDArray[np.int64]
    scratch: npt.NDArray[np.int64]
    pairs: npt.NDArray[np.int64]
    macroblocks: npt.NDArray[np.int32]
    counts: npt.NDArray[np.uint8]
    modes: npt.NDArray[np.int8]
    motion: npt.NDArray[np.int16]
    references: npt.NDArray[np.int8]
    differences: npt.NDArray[np.uint8]
    blank: npt.NDArray[np.int64]
    absent: npt.NDArray[np.int64]


def new_picture(rows: int, columns: int, words: npt.NDArray[np.int64]) -> Picture:
    """Room for a picture; :func:`clear` makes it ready."""
    count = rows * columns
    shapes: list[tuple[tuple[int, ...], type[np.generic]]] = [
        ((count, MACROBLOCK), np.int32),
        ((count, 24), np.uint8),
        ((count, 16), np.int8),
        ((2, 4 * rows, 4 * columns, 2), np.int16),
        ((2, 4 * rows, 4 * columns, 2), np.uint8),
    ]
    (table, counts, modes, motion, differences), blank = _views(shapes)
    (references,), absent = _views([((2, 2 * rows, 2 * columns), np.int8)])
    return Picture(
        words,
        np.zeros(4, np.int64),
        np.zeros(460, np.uint8),
        np.zeros(SLICE_STATE, np.int64),
        np.zeros((8, 6, 64), np.int64),
        np.zeros(2 * LEVELS, np.int64),
        np.zeros((2, COEFFICIENTS + 16), np.int64),
        table,
        counts,
        modes,
        motion,
        references,
        differences,
        blank,
        absent,
    )


def _views(
    shapes: list[tuple[tuple[int, ...], type[np.generic]]],
) -> tuple[list[npt.NDArray[Any]], npt.NDArray[np.int64]]:
    """Arrays that lie one behind the other, and all of their bytes as words."""
    sizes = [8 * -(-int(np.prod(shape)) * np.dtype(kind).itemsize // 8) for shape, kind in shapes]
    words = np.zeros(sum(sizes) // 8, np.int64)
    data, place, out = words.view(np.uint8), 0, []
    for (shape, kind), size in zip(shapes, sizes, strict=True):
        used = int(np.prod(shape)) * np.dtype(kind).itemsize
        out.append(data[place : place + used].view(kind).reshape(shape))
        place += size
    return out, words


@subroutine
def clear(picture):  # type: ignore[no-untyped-def]
    """Make a picture ready for its first slice."""
    for i in range(picture.blank.size):
        picture.blank[i] = 0
    for i in range(picture.absent.size):
        picture.absent[i] = -1
    for n in range(len(picture.macroblocks)):
        picture.macroblocks[n, M_SLICE] = -1


@subroutine
def enter(picture, macroblock):  # type: ignore[no-untyped-def]
    """Take a macroblock in hand: its neighbors in the slice, -1 where there is none (6.4.9)."""
    s, table = picture.slice, picture.macroblocks
    columns, number = s[S_COLUMNS], s[S_NUMBER]
    y = macroblock // columns
    x = macroblock - y * columns
    s[S_MACROBLOCK], s[S_X], s[S_Y], s[S_PAIRS] = macroblock, x, y, 0
    s[S_LEFT] = macroblock - 1 if x > 0 and table[macroblock - 1, M_SLICE] == number else -1
    s[S_ABOVE], s[S_RIGHT], s[S_CORNER] = -1, -1, -1
    if y > 0:
        above = macroblock - columns
        if table[above, M_SLICE] == number:
            s[S_ABOVE] = above
        if x + 1 < columns and table[above + 1, M_SLICE] == number:
            s[S_RIGHT] = above + 1
        if x > 0 and table[above - 1, M_SLICE] == number:
            s[S_CORNER] = above - 1
    table[macroblock, M_SLICE] = number
    table[macroblock, M_QUANTIZER] = s[S_QUANTIZER]
