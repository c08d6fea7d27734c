"""References and vectors of CABAC slices (ITU-T H.264, 7.3.5.1, 7.3.5.2, 9.3.3.1.1.6, 9.3.3.1.1.7)."""

from __future__ import annotations

from typing import Final

import numpy as np

from cvr_lightning.codec.bitstream.kernels import subroutine
from cvr_lightning.codec.h264.bidirectional import LIST_0
from cvr_lightning.codec.h264.cabac import bypass, decision, read_bin, read_suffix
from cvr_lightning.codec.h264.faults import BAD_REFERENCE, BAD_VECTOR
from cvr_lightning.codec.h264.motion import (
    fill_reference,
    fill_vector,
    predict,
    predict_half,
    predict_in_quarter,
)
from cvr_lightning.codec.h264.state import (
    M_DIRECT,
    S_ABOVE,
    S_LEFT,
    S_MACROBLOCK,
    S_REFERENCES_0,
    S_X,
    S_Y,
)

_QUARTER_P: Final = 21
_VECTOR: Final = 40
_REFERENCE: Final = 54


@subroutine
def _above_zero(picture, which, j, i):  # type: ignore[no-untyped-def]
    """Whether ref_idx of the 8x8 block at row ``j``, column ``i`` of the macroblock, -1 to 1, is above 0."""
    s = picture.slice
    number = s[S_MACROBLOCK]
    if j < 0:
        number = s[S_ABOVE]
    elif i < 0:
        number = s[S_LEFT]
    if number < 0:
        return 0
    if picture.macroblocks[number, M_DIRECT] >> ((j & 1) * 2 + (i & 1)) & 1:
        return 0
    return np.int64(picture.references[which, 2 * s[S_Y] + j, 2 * s[S_X] + i] > 0)


@subroutine
def read_reference(picture, which, j, i):  # type: ignore[no-untyped-def]
    """Read ref_idx of the partition that begins at an 8x8 block; -1 where it leaves the list."""
    count = picture.slice[S_REFERENCES_0 + which]
    if count == 1:
        return np.int64(0)
    index = _REFERENCE + _above_zero(picture, which, j, i - 1) + 2 * _above_zero(picture, which, j - 1, i)
    value = np.int64(0)
    while read_bin(picture, index):
        index = _REFERENCE + (5 if value else 4)
        value += 1
        if value >= count:
            return np.int64(-1)
    return value


@subroutine
def _difference(picture, first, around):  # type: ignore[no-untyped-def]
    """Read one component of a vector difference, UEG3: value, whether it has a code."""
    if not decision(picture, first + (0 if around < 3 else (1 if around <= 32 else 2))):
        return 0, True
    size, index = 1, first + 3
    while size < 9 and decision(picture, index):
        if size < 4:
            index += 1
        size += 1
    if size == 9:
        suffix = read_suffix(picture, 3)
        if suffix < 0:
            return 0, False
        size += suffix
    return (-size if bypass(picture) else size), True


@subroutine
def _around(picture, which, j, i, axis):  # type: ignore[no-untyped-def]
    """Sum of the sizes of the differences to the left and above."""
    s, sizes = picture.slice, picture.differences
    y, x = 4 * s[S_Y] + j, 4 * s[S_X] + i
    total = np.int64(0)
    if i or s[S_LEFT] >= 0:
        total += sizes[which, y, x - 1, axis]
    if j or s[S_ABOVE] >= 0:
        total += sizes[which, y - 1, x, axis]
    return total


@subroutine
def read_vector(picture, which, j, i, height, width, x, y):  # type: ignore[no-untyped-def]
    """Read a vector difference and set the vector, which ``x`` and ``y`` predict: 0, or a fault's code."""
    s, sizes = picture.slice, picture.differences
    dx, sound = _difference(picture, _VECTOR, _around(picture, which, j, i, 0))
    if not sound:
        return BAD_VECTOR
    dy, sound = _difference(picture, _VECTOR + 7, _around(picture, which, j, i, 1))
    if not sound:
        return BAD_VECTOR
    fill_vector(picture, which, j, i, height, width, x + dx, y + dy)
    if dx or dy:
        a, b = min(abs(dx), 255), min(abs(dy), 255)
        for row in range(4 * s[S_Y] + j, 4 * s[S_Y] + j + height):
            for column in range(4 * s[S_X] + i, 4 * s[S_X] + i + width):
                sizes[which, row, column, 0], sizes[which, row, column, 1] = a, b
    return 0


@subroutine
def read_partitions(picture, shape, uses):  # type: ignore[no-untyped-def]
    """Read references and vectors of one or two partitions: 0, or a fault's code.

    Args:
        picture: The picture.
        shape: 0 is 16x16, 1 16x8, 2 8x16.
        uses: The lists that they use, two bits each.
    """
    s = picture.slice
    parts = 2 if shape else 1
    height, width = 2 if shape == 1 else 4, 2 if shape == 2 else 4
    for which in range(2):
        for part in range(parts):
            if uses >> (2 * part + which) & 1:
                j, i = part * (shape == 1), part * (shape == 2)
                index = read_reference(picture, which, j, i)
                if index < 0:
                    return BAD_REFERENCE
                fill_reference(picture, which, j, i, height >> 1, width >> 1, index)
    for which in range(2):
        for part in range(parts):
            if uses >> (2 * part + which) & 1:
                j, i = part * (shape == 1), part * (shape == 2)
                index = np.int64(picture.references[which, 2 * s[S_Y] + j, 2 * s[S_X] + i])
                if shape:
                    x, y = predict_half(picture, which, shape, part, index)
                else:
                    x, y = predict(picture, which, 0, 0, 4, index)
                wrong = read_vector(picture, which, 2 * j, 2 * i, height, width, x, y)
                if wrong:
                    return wrong
    return 0


@subroutine
def _read_quarter_type(picture):  # type: ignore[no-untyped-def]
    """Read sub_mb_type of P: 0 is 8x8, 1 8x4, 2 4x8, 3 4x4."""
    if read_bin(picture, _QUARTER_P):
        return 0
    if not read_bin(picture, _QUARTER_P + 1):
        return 1
    return 3 - read_bin(picture, _QUARTER_P + 2)


@subroutine
def read_quarters(picture):  # type: ignore[no-untyped-def]
    """Read a P_8x8 macroblock: 0 or a fault's code, whether no quarter is split."""
    splits = 0
    for n in range(4):
        splits |= _read_quarter_type(picture) << (2 * n)
    return read_quarter_motion(picture, splits, LIST_0), splits == 0


@subroutine
def read_quarter_motion(picture, splits, uses):  # type: ignore[no-untyped-def]
    """Read references and vectors of four quarters: 0, or a fault's code.

    Args:
        picture: The picture.
        splits: How they are split, two bits each.
        uses: The lists that they use, two bits each; none in direct prediction.
    """
    for which in range(2):
        for n in range(4):
            if uses >> (2 * n + which) & 1:
                index = read_reference(picture, which, n >> 1, n & 1)
                if index < 0:
                    return BAD_REFERENCE
                fill_reference(picture, which, n >> 1, n & 1, 1, 1, index)
    for which in range(2):
        for n in range(4):
            if uses >> (2 * n + which) & 1:
                split = splits >> (2 * n) & 3
                height, width = 1 if split & 1 else 2, 1 if split & 2 else 2
                for j in range(2 * (n >> 1), 2 * (n >> 1) + 2, height):
                    for i in range(2 * (n & 1), 2 * (n & 1) + 2, width):
                        x, y = predict_in_quarter(picture, which, j, i, width)
                        wrong = read_vector(picture, which, j, i, height, width, x, y)
                        if wrong:
                            return wrong
    return 0
