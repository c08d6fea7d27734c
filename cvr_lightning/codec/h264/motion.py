"""Prediction of vectors (ITU-T H.264, 8.4.1)."""

from __future__ import annotations

from typing import Final

import numpy as np

from cvr_lightning.codec.bitstream.kernels import inlined, subroutine
from cvr_lightning.codec.h264.state import (
    S_ABOVE,
    S_CORNER,
    S_LEFT,
    S_RIGHT,
    S_X,
    S_Y,
)

_DECODING_ORDER: Final = np.array([0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15], np.int64)
"""Place in decoding order of each 4x4 block in raster order."""
_ABSENT: Final = -2
"""In place of a reference: there is no such block in the slice."""


@inlined
def _at(picture, which, y, x):  # type: ignore[no-untyped-def]
    motion = picture.motion
    return (
        np.int64(picture.references[which, y >> 1, x >> 1]),
        np.int64(motion[which, y, x, 0]),
        np.int64(motion[which, y, x, 1]),
    )


@subroutine
def neighbor(picture, which, j, i):  # type: ignore[no-untyped-def]
    """Reference and vector of the block at row ``j``, column ``i`` of the macroblock, -1 to 3 or 4."""
    s = picture.slice
    if j < 0:
        present = s[S_CORNER] if i < 0 else (s[S_ABOVE] if i < 4 else s[S_RIGHT])
    elif i < 0:
        present = s[S_LEFT]
    else:
        present = np.int64(0)
    if present < 0:
        return np.int64(_ABSENT), np.int64(0), np.int64(0)
    return _at(picture, which, 4 * s[S_Y] + j, 4 * s[S_X] + i)


@inlined
def _median(a, b, c):  # type: ignore[no-untyped-def]
    return max(min(a, b), min(max(a, b), c))


@subroutine
def third(picture, which, j, i, width):  # type: ignore[no-untyped-def]
    """Neighbor C, or D in its place (8.4.1.3.2)."""
    k = i + width
    if j > 0 and (k > 3 or _DECODING_ORDER[4 * (j - 1) + k] > _DECODING_ORDER[4 * j + i]):
        return neighbor(picture, which, j - 1, i - 1)
    c = neighbor(picture, which, j - 1, k)
    if c[0] == _ABSENT:
        return neighbor(picture, which, j - 1, i - 1)
    return c


@subroutine
def predict(picture, which, j, i, width, reference):  # type: ignore[no-untyped-def]
    """Median prediction (8.4.1.3) of the partition at row ``j``, column ``i``, ``width`` blocks wide."""
    ra, ax, ay = neighbor(picture, which, j, i - 1)
    rb, bx, by = neighbor(picture, which, j - 1, i)
    rc, cx, cy = third(picture, which, j, i, width)
    if rb == _ABSENT and rc == _ABSENT and ra != _ABSENT:
        return ax, ay
    matches = (ra == reference) + (rb == reference) + (rc == reference)
    if matches == 1:
        if ra == reference:
            return ax, ay
        return (bx, by) if rb == reference else (cx, cy)
    return _median(ax, bx, cx), _median(ay, by, cy)


@subroutine
def predict_half(picture, which, shape, part, reference):  # type: ignore[no-untyped-def]
    """Directional prediction (8.4.1.3) of half a macroblock: shape 1 is 16x8, 2 is 8x16."""
    if shape == 1:
        r, x, y = neighbor(picture, which, 2, -1) if part else neighbor(picture, which, -1, 0)
        if r == reference:
            return x, y
        return predict(picture, which, 2 * part, 0, 4, reference)
    if part:
        r, x, y = third(picture, which, 0, 2, 2)
    else:
        r, x, y = neighbor(picture, which, 0, -1)
    if r == reference:
        return x, y
    return predict(picture, which, 0, 2 * part, 2, reference)


@subroutine
def predict_in_quarter(picture, which, j, i, width):  # type: ignore[no-untyped-def]
    """Predict a vector inside a quarter of the macroblock, whose reference is set."""
    s = picture.slice
    reference = np.int64(picture.references[which, 2 * s[S_Y] + (j >> 1), 2 * s[S_X] + (i >> 1)])
    return predict(picture, which, j, i, width, reference)


@subroutine
def fill_vector(picture, which, j, i, height, width, x, y):  # type: ignore[no-untyped-def]
    """Set the vector of ``height`` x ``width`` 4x4 blocks of the macroblock."""
    s, motion = picture.slice, picture.motion
    top, left = 4 * s[S_Y] + j, 4 * s[S_X] + i
    for row in range(top, top + height):
        for column in range(left, left + width):
            motion[which, row, column, 0] = x
            motion[which, row, column, 1] = y


@subroutine
def fill_reference(picture, which, j, i, height, width, reference):  # type: ignore[no-untyped-def]
    """Set the reference of ``height`` x ``width`` 8x8 blocks of the macroblock."""
    s = picture.slice
    for row in range(2 * s[S_Y] + j, 2 * s[S_Y] + j + height):
        for column in range(2 * s[S_X] + i, 2 * s[S_X] + i + width):
            picture.references[which, row, column] = reference


@subroutine
def skip_p(picture):  # type: ignore[no-untyped-def]
    """Infer the vector of a P_Skip macroblock (8.4.1.1)."""
    fill_reference(picture, 0, 0, 0, 2, 2, 0)
    s = picture.slice
    if s[S_LEFT] < 0 or s[S_ABOVE] < 0:
        return
    ra, ax, ay = neighbor(picture, 0, 0, -1)
    rb, bx, by = neighbor(picture, 0, -1, 0)
    if (ra == 0 and ax == 0 and ay == 0) or (rb == 0 and bx == 0 and by == 0):
        return
    x, y = predict(picture, 0, 0, 0, 4, 0)
    if x or y:
        fill_vector(picture, 0, 0, 0, 4, 4, x, y)
