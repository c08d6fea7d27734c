"""Bit-exact motion compensation of MPEG-4 Part 2 P-VOPs (ISO/IEC 14496-2, 7.6.2 and 7.6.3).

References are padded by repeating edge samples without limit (7.6.4), from the size in whole macroblocks.
"""

from __future__ import annotations

import numba
import numpy as np
import numpy.typing as npt

Planes = tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8], npt.NDArray[np.uint8]]


@numba.njit(nogil=True, cache=True)
def fetch(plane, top, left, size, out):  # type: ignore[no-untyped-def]
    """Read samples (size, size) at (top, left), repeating edge samples."""
    height, width = plane.shape
    if top >= 0 and left >= 0 and top + size <= height and left + size <= width:
        for y in range(size):
            for x in range(size):
                out[y, x] = plane[top + y, left + x]
        return
    for y in range(size):
        row = min(max(top + y, 0), height - 1)
        for x in range(size):
            out[y, x] = plane[row, min(max(left + x, 0), width - 1)]


@numba.njit(nogil=True, cache=True)
def _half_sample(samples, size, half_x, half_y, rounding, out):  # type: ignore[no-untyped-def]
    """Bilinear interpolation with rounding control (7.6.2.1)."""
    for y in range(size):
        for x in range(size):
            a = samples[y, x]
            if half_x and half_y:
                b, c, d = samples[y, x + 1], samples[y + 1, x], samples[y + 1, x + 1]
                out[y, x] = (a + b + c + d + 2 - rounding) >> 2
            elif half_x:
                out[y, x] = (a + samples[y, x + 1] + 1 - rounding) >> 1
            elif half_y:
                out[y, x] = (a + samples[y + 1, x] + 1 - rounding) >> 1
            else:
                out[y, x] = a


@numba.njit(nogil=True, cache=True, inline="always")
def _mirror(place, size):  # type: ignore[no-untyped-def]
    """Mirror positions outside 0..size at the block's borders (7.6.2.2)."""
    if place < 0:
        return -place - 1
    return 2 * size + 1 - place if place > size else place


@numba.njit(nogil=True, cache=True)
def _filter_rows(samples, rows, size, quarter, rounding, out):  # type: ignore[no-untyped-def]
    """Quarter-sample interpolation in one dimension: (rows, size + 1) samples to (rows, size) (7.6.2.2)."""
    for y in range(rows):
        line = samples[y]
        for x in range(size):
            if quarter == 0:
                out[y, x] = line[x]
                continue
            total = 20 * (line[x] + line[x + 1])
            total -= 6 * (line[_mirror(x - 1, size)] + line[_mirror(x + 2, size)])
            total += 3 * (line[_mirror(x - 2, size)] + line[_mirror(x + 3, size)])
            total -= line[_mirror(x - 3, size)] + line[_mirror(x + 4, size)]
            half = min(max((total + 16 - rounding) >> 5, 0), 255)
            if quarter == 2:
                out[y, x] = half
            else:
                out[y, x] = (half + line[x + quarter // 2] + 1 - rounding) >> 1


@numba.njit(nogil=True, cache=True)
def _quarter_sample(samples, size, x, y, rounding, scratch, out):  # type: ignore[no-untyped-def]
    """Interpolate rows, then columns."""
    _filter_rows(samples, size + 1, size, x, rounding, scratch)
    _filter_rows(scratch.T, size, size, y, rounding, out.T)


@numba.njit(nogil=True, cache=True)
def _predict_luma(plane, top, left, size, mv, quarter, rounding, buffers, out):  # type: ignore[no-untyped-def]
    samples, scratch = buffers
    bits = 2 if quarter else 1
    mask = (1 << bits) - 1
    fetch(plane, top + (mv[1] >> bits), left + (mv[0] >> bits), size + 1, samples)
    target = out[top : top + size, left : left + size]
    if quarter:
        _quarter_sample(samples, size, mv[0] & mask, mv[1] & mask, rounding, scratch, target)
    else:
        _half_sample(samples, size, mv[0] & 1, mv[1] & 1, rounding, target)


@numba.njit(nogil=True, cache=True, inline="always")
def _towards_zero(value):  # type: ignore[no-untyped-def]
    return -(-value // 2) if value < 0 else value // 2


@numba.njit(nogil=True, cache=True)
def _chroma_component(vectors, axis, split, quarter):  # type: ignore[no-untyped-def]
    """Chroma vector in half samples of the chroma plane (7.6.2.1, Tables 7-6 to 7-9)."""
    if not split:
        value = vectors[0, 0, axis]
        if quarter:
            value = _towards_zero(value)
        return (value >> 1) | (value & 1)
    total = 0
    for j in range(2):
        for i in range(2):
            value = vectors[j, i, axis]
            total += _towards_zero(value) if quarter else value
    sixteenth = total & 15
    rounded = 0 if sixteenth < 3 else (1 if sixteenth < 14 else 2)
    return 2 * (total >> 4) + rounded


@numba.njit(nogil=True, cache=True)
def _predict(reference, vectors, inter, split, quarter, rounding, out):  # type: ignore[no-untyped-def]
    luma, cb, cr = reference
    out_luma, out_cb, out_cr = out
    samples = np.empty((17, 17), np.int64)
    scratch = np.empty((17, 17), np.int64)
    for my in range(split.shape[0]):
        for mx in range(split.shape[1]):
            if not inter[2 * my, 2 * mx]:
                continue
            mvs = vectors[2 * my : 2 * my + 2, 2 * mx : 2 * mx + 2]
            size = 8 if split[my, mx] else 16
            for j in range(16 // size):
                for i in range(16 // size):
                    top, left = 16 * my + 8 * j, 16 * mx + 8 * i
                    buffers = (samples, scratch)
                    _predict_luma(luma, top, left, size, mvs[j, i], quarter, rounding, buffers, out_luma)
            x = _chroma_component(mvs, 0, split[my, mx], quarter)
            y = _chroma_component(mvs, 1, split[my, mx], quarter)
            top, left = 8 * my, 8 * mx
            fetch(cb, top + (y >> 1), left + (x >> 1), 9, samples)
            _half_sample(samples, 8, x & 1, y & 1, rounding, out_cb[top : top + 8, left : left + 8])
            fetch(cr, top + (y >> 1), left + (x >> 1), 9, samples)
            _half_sample(samples, 8, x & 1, y & 1, rounding, out_cr[top : top + 8, left : left + 8])


def predict(
    reference: Planes,
    vectors: npt.NDArray[np.int64],
    inter: npt.NDArray[np.bool_],
    split: npt.NDArray[np.bool_],
    quarter: bool,
    rounding: int,
) -> Planes:
    """Predict a P-VOP from its reference.

    Args:
        reference: Y, Cb, Cr of the reference, in whole macroblocks.
        vectors: (2 M, 2 N, 2) vectors (x, y) of the 8x8 blocks of M x N macroblocks, in half or quarter
            samples.
        inter: (2 M, 2 N) true if the block is predicted.
        split: (M, N) true if the macroblock has four vectors.
        quarter: Vectors are in quarter samples.
        rounding: vop_rounding_type.

    Returns:
        Y, Cb, Cr of the prediction, 0 for blocks that are not predicted.
    """
    out = (np.zeros_like(reference[0]), np.zeros_like(reference[1]), np.zeros_like(reference[2]))
    _predict(reference, vectors, inter, split, quarter, rounding, out)
    return out
