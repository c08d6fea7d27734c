"""The orthonormal 8x8 DCT of MPEG-4 (ISO/IEC 14496-2, 7.4.5), in zigzag order, on the grid of luma blocks."""

from __future__ import annotations

from typing import Final

import numba
import numpy as np
import numpy.typing as npt

from cvr_lightning.codec.arrays import BLOCK

ResidualPlanes = tuple[npt.NDArray[np.int16], npt.NDArray[np.int16], npt.NDArray[np.int16]]
"""Y, Cb, Cr differences of a 4:2:0 frame."""
COEFFICIENTS = BLOCK * BLOCK
"""Coefficients of a block."""


def _zigzag() -> npt.NDArray[np.int64]:
    """(64, 2) (row, column) frequencies along the anti-diagonals, alternating in direction (Figure 7-2)."""
    cells = [(row, column) for row in range(BLOCK) for column in range(BLOCK)]
    cells.sort(key=lambda cell: (sum(cell), cell[sum(cell) % 2 == 0]))
    return np.array(cells, np.int64)


def _basis() -> npt.NDArray[np.float32]:
    """(8, 8) orthonormal DCT-II: row u holds frequency u."""
    u, x = np.arange(BLOCK)[:, None], np.arange(BLOCK)[None, :]
    basis: npt.NDArray[np.float64] = np.cos((2 * x + 1) * u * np.pi / (2 * BLOCK)) * np.sqrt(2 / BLOCK)
    basis[0] /= np.sqrt(2)
    return basis.astype(np.float32)


ZIGZAG: Final = _zigzag()
"""(64, 2) int64: vertical and horizontal frequency of each zigzag position."""
BASIS: Final = _basis()
"""(8, 8) float32: transform matrix, one frequency per row."""


@numba.njit(nogil=True, cache=True)
def _forward(plane, count, spread, out):  # type: ignore[no-untyped-def]
    rows = np.empty((8, 8), np.float32)
    for by in range(plane.shape[0] // 8):
        for bx in range(plane.shape[1] // 8):
            block = plane[8 * by : 8 * by + 8, 8 * bx : 8 * bx + 8]
            coded = False
            for y in range(8):
                for x in range(8):
                    coded |= block[y, x] != 0
            if not coded:
                continue
            for y in range(8):
                for v in range(8):
                    total = np.float32(0)
                    for x in range(8):
                        total += BASIS[v, x] * block[y, x]
                    rows[y, v] = total
            for k in range(count):
                u, v = ZIGZAG[k]
                total = np.float32(0)
                for y in range(8):
                    total += BASIS[u, y] * rows[y, v]
                for j in range(spread * by, min(spread * by + spread, out.shape[1])):
                    for i in range(spread * bx, min(spread * bx + spread, out.shape[2])):
                        out[k, j, i] = total


def forward(
    planes: ResidualPlanes,
    coefficients: tuple[int, int],
    grid: tuple[int, int],
) -> npt.NDArray[np.float32]:
    """Transform the residual of a 4:2:0 frame.

    Args:
        planes: Y (H', W'), Cb and Cr (H'/2, W'/2) residuals of whole macroblocks, in gray levels.
        coefficients: Zigzag coefficients kept per luma block and per chroma block.
        grid: Luma blocks (H8, W8) of the frame.

    Returns:
        (C, H8, W8) float32: luma, Cb, Cr. A chroma block is repeated in the 2x2 luma blocks that it covers.
    """
    luma, chroma = coefficients
    out = np.zeros((luma + 2 * chroma, *grid), np.float32)
    _forward(planes[0], luma, 1, out[:luma])
    _forward(planes[1], chroma, 2, out[luma : luma + chroma])
    _forward(planes[2], chroma, 2, out[luma + chroma :])
    return out


@numba.njit(nogil=True, cache=True)
def _inverse(coefficients, out):  # type: ignore[no-untyped-def]
    count, height, width = coefficients.shape
    block = np.empty((8, 8), np.float32)
    rows = np.empty((8, 8), np.float32)
    for by in range(height):
        for bx in range(width):
            coded = False
            block[:] = 0
            for k in range(count):
                value = coefficients[k, by, bx]
                coded |= value != 0
                block[ZIGZAG[k, 0], ZIGZAG[k, 1]] = value
            if not coded:
                continue
            for u in range(8):
                for x in range(8):
                    total = np.float32(0)
                    for v in range(8):
                        total += BASIS[v, x] * block[u, v]
                    rows[u, x] = total
            for y in range(8):
                for x in range(8):
                    total = np.float32(0)
                    for u in range(8):
                        total += BASIS[u, y] * rows[u, x]
                    out[8 * by + y, 8 * bx + x] = total


def inverse(coefficients: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Transform (K, H8, W8) zigzag coefficients of one component back to (8 H8, 8 W8) samples."""
    _, height, width = coefficients.shape
    out = np.zeros((BLOCK * height, BLOCK * width), np.float32)
    _inverse(np.ascontiguousarray(coefficients), out)
    return out
