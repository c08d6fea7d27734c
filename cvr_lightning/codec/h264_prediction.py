"""Motion compensation of H.264 P-frames from one reference (ITU-T H.264, 8.4.2.2), without weights.

The decoder deblocks a frame after its residual is added (8.7), so what is left after prediction is the
residual with the deblocking in it: an approximation, unlike MPEG-4 Part 2.
"""

from __future__ import annotations

import numba
import numpy as np
import numpy.typing as npt

from cvr_lightning.codec.mpeg4.prediction import Planes, fetch


@numba.njit(nogil=True, cache=True, inline="always")
def _taps(a, b, c, d, e, f):  # type: ignore[no-untyped-def]
    return a - 5 * b + 20 * c + 20 * d - 5 * e + f


@numba.njit(nogil=True, cache=True, inline="always")
def _clip(value):  # type: ignore[no-untyped-def]
    return min(max(value, 0), 255)


@numba.njit(nogil=True, cache=True)
def _half(s, y, x, across, down):  # type: ignore[no-untyped-def]
    """The sample at (y, x), half a sample further to the right or down as asked (8.4.2.2.1)."""
    if across and down:
        total = np.int64(0)
        for k in range(6):
            r = y + k - 2
            row = _taps(s[r, x - 2], s[r, x - 1], s[r, x], s[r, x + 1], s[r, x + 2], s[r, x + 3])
            total += row * (1 if k in (0, 5) else (-5 if k in (1, 4) else 20))
        return _clip((total + 512) >> 10)
    if across:
        row = _taps(s[y, x - 2], s[y, x - 1], s[y, x], s[y, x + 1], s[y, x + 2], s[y, x + 3])
        return _clip((row + 16) >> 5)
    if down:
        column = _taps(s[y - 2, x], s[y - 1, x], s[y, x], s[y + 1, x], s[y + 2, x], s[y + 3, x])
        return _clip((column + 16) >> 5)
    return s[y, x]


@numba.njit(nogil=True, cache=True)
def _luma(s, y, x, fx, fy):  # type: ignore[no-untyped-def]
    """The sample at quarter position (fx, fy) of Figure 8-4: a half sample, or the mean of two neighbours."""
    if fx % 2 == 0 and fy % 2 == 0:
        return _half(s, y, x, fx == 2, fy == 2)
    if fx % 2 and fy % 2:  # e, g, p, r: between a horizontal and a vertical half sample
        return (_half(s, y + fy // 2, x, True, False) + _half(s, y, x + fx // 2, False, True) + 1) >> 1
    if fx % 2:  # a, c, i, k
        down = fy == 2
        return (_half(s, y, x + fx // 2, False, down) + _half(s, y, x, True, down) + 1) >> 1
    across = fx == 2  # d, n, f, q
    return (_half(s, y + fy // 2, x, across, False) + _half(s, y, x, across, True) + 1) >> 1


@numba.njit(nogil=True, cache=True)
def _predict_luma(plane, top, left, mx, my, samples, out):  # type: ignore[no-untyped-def]
    fetch(plane, top + (my >> 2) - 2, left + (mx >> 2) - 2, 14, samples)
    for y in range(8):
        for x in range(8):
            out[top + y, left + x] = _luma(samples, y + 2, x + 2, mx & 3, my & 3)


@numba.njit(nogil=True, cache=True)
def _predict_chroma(plane, top, left, mx, my, samples, out):  # type: ignore[no-untyped-def]
    """Bilinear in eighths (8.4.2.2.2)."""
    fetch(plane, top + (my >> 3), left + (mx >> 3), 5, samples)
    fx, fy = mx & 7, my & 7
    for y in range(4):
        for x in range(4):
            above = (8 - fx) * samples[y, x] + fx * samples[y, x + 1]
            below = (8 - fx) * samples[y + 1, x] + fx * samples[y + 1, x + 1]
            out[top + y, left + x] = ((8 - fy) * above + fy * below + 32) >> 6


@numba.njit(nogil=True, cache=True)
def _predict(reference, vectors, inter, out):  # type: ignore[no-untyped-def]
    samples = np.empty((14, 14), np.int64)
    for by in range(inter.shape[0]):
        for bx in range(inter.shape[1]):
            if inter[by, bx]:
                mx, my = vectors[by, bx]
                _predict_luma(reference[0], 8 * by, 8 * bx, mx, my, samples, out[0])
                _predict_chroma(reference[1], 4 * by, 4 * bx, mx, my, samples, out[1])
                _predict_chroma(reference[2], 4 * by, 4 * bx, mx, my, samples, out[2])


def predict(reference: Planes, vectors: npt.NDArray[np.int64], inter: npt.NDArray[np.bool_]) -> Planes:
    """Predict a P-frame from its only reference.

    Args:
        reference: Y, Cb, Cr of the reference, whole macroblocks.
        vectors: (2 M, 2 N, 2) vectors (x, y) of the 8x8 blocks in quarter samples.
        inter: (2 M, 2 N) the block is predicted.

    Returns:
        Y, Cb, Cr of the prediction, 0 where there is none.
    """
    out = (np.zeros_like(reference[0]), np.zeros_like(reference[1]), np.zeros_like(reference[2]))
    _predict(reference, vectors, inter, out)
    return out
