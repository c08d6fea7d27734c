"""Rotation and resizing of block and pixel fields.

The last axes of arrays are (rows, columns). Turns are quarter turns counterclockwise, as in
:func:`numpy.rot90`. Rotation of block fields is exact if the sides of the frame are multiples of 8; otherwise
the grid is offset by a fraction of a block.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TypeVar

import numba
import numpy as np
import numpy.typing as npt

from cvr_lightning.codec.arrays import BLOCK
from cvr_lightning.codec.fields.dct import COEFFICIENTS, ZIGZAG, inverse

Scalar = TypeVar("Scalar", bound=np.generic)
Floats = npt.NDArray[np.float32]

# ITU-R BT.601, limited range: change of R, G, B per unit of Y, Cb, Cr.
_YCBCR_TO_RGB = np.array(
    [
        [255 / 219, 0.0, 1.402 * 255 / 224],
        [255 / 219, -0.344136 * 255 / 224, -0.714136 * 255 / 224],
        [255 / 219, 1.772 * 255 / 224, 0.0],
    ],
    np.float32,
)


def turn(field: npt.NDArray[Scalar], turns: int) -> npt.NDArray[Scalar]:
    """Rotate the last two axes of a field."""
    return np.rot90(field, turns, axes=(-2, -1)) if turns % 4 else field


def turn_motion(motion: Floats, turns: int) -> Floats:
    """Rotate a (2, H, W) field of displacements, including the vectors themselves."""
    for _ in range(turns % 4):
        motion = np.rot90(np.stack((motion[1], -motion[0])), 1, axes=(-2, -1))
    return motion


def turn_coefficients(coefficients: Floats, turns: int) -> Floats:
    """Rotate (192, H8, W8) coefficients: all 64 of luma, Cb and Cr.

    A quarter turn transposes the frequencies and negates the odd ones along the reversed axis.
    """
    rows, columns = ZIGZAG.T
    place = np.empty((BLOCK, BLOCK), np.int64)
    place[rows, columns] = np.arange(COEFFICIENTS)
    sign = np.where(rows % 2, -1, 1).astype(np.float32)[:, None, None]
    for _ in range(turns % 4):
        components = [part[place[columns, rows]] * sign for part in np.split(coefficients, 3)]
        coefficients = turn(np.concatenate(components), 1)
    return coefficients


def keep_coefficients(residual: Floats, coefficients: tuple[int, int]) -> Floats:
    """Select the first zigzag coefficients of (192, H8, W8)."""
    luma, cb, cr = np.split(residual, 3)
    return np.concatenate((luma[: coefficients[0]], cb[: coefficients[1]], cr[: coefficients[1]]))


@lru_cache(maxsize=256)
def nearest_blocks(count: int, size: int, source_count: int, source_size: int) -> npt.NDArray[np.int64]:
    """Index of the source block at the center of each of ``count`` blocks, for a side resized to ``size``.

    The array is cached and therefore read-only.
    """
    centers = (np.arange(count) * BLOCK + BLOCK / 2) * (source_size / size)
    places = np.minimum((centers // BLOCK).astype(np.int64), source_count - 1)
    places.flags.writeable = False
    return places


@numba.njit(nogil=True, cache=True)
def gather(field, rows, columns, scale, out):  # type: ignore[no-untyped-def]
    """Fill ``out`` (C, H, W) with the cells (rows, columns) of ``field``, scaled per plane."""
    for plane in range(out.shape[0]):
        for y in range(out.shape[1]):
            row = rows[y]
            for x in range(out.shape[2]):
                out[plane, y, x] = field[plane, row, columns[x]] * scale[plane]


def to_planes(picture: npt.NDArray[np.uint8], out: npt.NDArray[np.uint8]) -> None:
    """Fill ``out`` (3, H, W) with a picture (H, W, 3)."""
    _deinterleave(np.ascontiguousarray(picture).reshape(-1), *out.reshape(3, -1))


@numba.njit(nogil=True, cache=True)
def _deinterleave(triples, first, second, third):  # type: ignore[no-untyped-def]
    # With flat arrays the compiler vectorizes this loop: 9x faster.
    for i in range(first.size):
        first[i] = triples[3 * i]
        second[i] = triples[3 * i + 1]
        third[i] = triples[3 * i + 2]


def nearest_pixels(size: int, source_size: int) -> npt.NDArray[np.int64]:
    """Index of the source pixel at the center of each of ``size`` pixels."""
    return ((np.arange(size) + 0.5) * (source_size / size)).astype(np.int64)


def to_pixels(blocks: npt.NDArray[Scalar], size: tuple[int, int]) -> npt.NDArray[Scalar]:
    """Expand block values to the pixels of an (H, W) frame."""
    pixels = blocks.repeat(BLOCK, axis=-2).repeat(BLOCK, axis=-1)
    return pixels[..., : size[0], : size[1]]


def to_rgb(coefficients: Floats, size: tuple[int, int]) -> Floats:
    """Convert (192, H8, W8) coefficients of a coded frame to RGB differences (3, H, W).

    Conversion from YCbCr is linear (BT.601, limited range); chroma is upsampled with nearest neighbor.
    """
    luma, cb, cr = np.split(coefficients, 3)
    planes = [inverse(luma)]
    planes += [inverse(part[:, ::2, ::2]).repeat(2, axis=0).repeat(2, axis=1) for part in (cb, cr)]
    ycbcr = np.stack([plane[: size[0], : size[1]] for plane in planes])
    return np.tensordot(_YCBCR_TO_RGB, ycbcr, axes=1).astype(np.float32, copy=False)
