"""Vectors and references that direct prediction infers in B slices (ITU-T H.264, 8.4.1.2)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from cvr_lightning.codec.bitstream.kernels import inlined, subroutine
from cvr_lightning.codec.h264.faults import MISSING_REFERENCE
from cvr_lightning.codec.h264.motion import fill_reference, fill_vector, neighbor, predict, third
from cvr_lightning.codec.h264.state import (
    M_DIRECT,
    S_DIRECT_8X8,
    S_MACROBLOCK,
    S_NUMBER,
    S_SPATIAL,
    S_X,
    S_Y,
)


class Colocated(NamedTuple):
    """The first pictures of list 1 of a picture's slices, K of them, on its grid of M x N macroblocks.

    Attributes:
        vectors: (K, 4 M, 4 N, 2) int16, of list 0 or, where a block does not use it, of list 1.
        indices: (K, 2 M, 2 N) int8, ref_idx of these vectors, -1 in intra blocks.
        distances: (K, 2 M, 2 N) int64, frames from the picture back to what they refer to.
        pictures: (S,) int64, which of the K each slice of the picture refers to, -1 in other slices.
        short_term: (S,) bool, whether that is a short-term reference.
        lists: (S, 32) int64, frames from the picture back to the entries of list 0; 0 without entry.
        scales: (S, 32) int64, DistScaleFactor of each entry, 256 of a long-term one.
    """

    vectors: npt.NDArray[np.int16]
    indices: npt.NDArray[np.int8]
    distances: npt.NDArray[np.int64]
    pictures: npt.NDArray[np.int64]
    short_term: npt.NDArray[np.bool_]
    lists: npt.NDArray[np.int64]
    scales: npt.NDArray[np.int64]


@subroutine
def infer_direct(picture, colocated, quarters):  # type: ignore[no-untyped-def]
    """Infer the 8x8 blocks of the macroblock that the bits of ``quarters`` name: 0, or a fault's code."""
    s = picture.slice
    picture.macroblocks[s[S_MACROBLOCK], M_DIRECT] = quarters
    if s[S_SPATIAL]:
        _infer_spatial(picture, colocated, quarters)
        return 0
    return _infer_temporal(picture, colocated, quarters)


@inlined
def _corner(picture, n, k):  # type: ignore[no-untyped-def]
    """Row and column in the macroblock of the colocated 4x4 block of block ``k`` of quarter ``n``."""
    if picture.slice[S_DIRECT_8X8]:
        return 3 * (n >> 1), 3 * (n & 1)
    return 2 * (n >> 1) + (k >> 1), 2 * (n & 1) + (k & 1)


@subroutine
def _least_reference(picture, which):  # type: ignore[no-untyped-def]
    """The smallest ref_idx of the neighbors of the macroblock, negative where none uses the list."""
    a, _, _ = neighbor(picture, which, 0, -1)
    b, _, _ = neighbor(picture, which, -1, 0)
    c, _, _ = third(picture, which, 0, 0, 4)
    least = np.int64(-1)
    for index in (a, b, c):
        if index >= 0 and (least < 0 or index < least):
            least = index
    return least


@subroutine
def _infer_spatial(picture, colocated, quarters):  # type: ignore[no-untyped-def]
    """8.4.1.2.2: neighbors predict one vector of each list, which is zero where nothing has moved."""
    s = picture.slice
    first, second = _least_reference(picture, 0), _least_reference(picture, 1)
    ax = ay = bx = by = np.int64(0)
    if first >= 0:
        ax, ay = predict(picture, 0, 0, 0, 4, first)
    if second >= 0:
        bx, by = predict(picture, 1, 0, 0, 4, second)
    if first < 0 and second < 0:
        first = second = np.int64(0)
    count, side = (1, 2) if s[S_DIRECT_8X8] else (4, 1)
    for n in range(4):
        if quarters >> n & 1 == 0:
            continue
        fill_reference(picture, 0, n >> 1, n & 1, 1, 1, first)
        fill_reference(picture, 1, n >> 1, n & 1, 1, 1, second)
        for k in range(count):
            j, i = 2 * (n >> 1) + (k >> 1), 2 * (n & 1) + (k & 1)
            still = _is_still(picture, colocated, n, k)
            if not (still and first == 0):
                fill_vector(picture, 0, j, i, side, side, ax, ay)
            if not (still and second == 0):
                fill_vector(picture, 1, j, i, side, side, bx, by)


@subroutine
def _is_still(picture, colocated, n, k):  # type: ignore[no-untyped-def]
    """Whether colZeroFlag is set for block ``k`` of quarter ``n``."""
    s = picture.slice
    if not colocated.short_term[s[S_NUMBER]]:
        return False
    which = colocated.pictures[s[S_NUMBER]]
    if colocated.indices[which, 2 * s[S_Y] + (n >> 1), 2 * s[S_X] + (n & 1)] != 0:
        return False
    j, i = _corner(picture, n, k)
    vector = colocated.vectors[which, 4 * s[S_Y] + j, 4 * s[S_X] + i]
    return -1 <= vector[0] <= 1 and -1 <= vector[1] <= 1


@subroutine
def _infer_temporal(picture, colocated, quarters):  # type: ignore[no-untyped-def]
    """8.4.1.2.3: the vectors are those of the colocated block, scaled."""
    s = picture.slice
    which = colocated.pictures[s[S_NUMBER]]
    count, side = (1, 2) if s[S_DIRECT_8X8] else (4, 1)
    for n in range(4):
        if quarters >> n & 1 == 0:
            continue
        first = _index_in_list(colocated, s[S_NUMBER], which, 2 * s[S_Y] + (n >> 1), 2 * s[S_X] + (n & 1))
        if first < 0:
            return MISSING_REFERENCE
        fill_reference(picture, 0, n >> 1, n & 1, 1, 1, first)
        fill_reference(picture, 1, n >> 1, n & 1, 1, 1, 0)
        scale = colocated.scales[s[S_NUMBER], first]
        for k in range(count):
            j, i = _corner(picture, n, k)
            vector = colocated.vectors[which, 4 * s[S_Y] + j, 4 * s[S_X] + i]
            x, y = (scale * vector[0] + 128) >> 8, (scale * vector[1] + 128) >> 8
            j, i = 2 * (n >> 1) + (k >> 1), 2 * (n & 1) + (k & 1)
            fill_vector(picture, 0, j, i, side, side, x, y)
            fill_vector(picture, 1, j, i, side, side, x - vector[0], y - vector[1])
    return 0


@subroutine
def _index_in_list(colocated, number, which, y, x):  # type: ignore[no-untyped-def]
    """The place in list 0 of what the colocated block refers to; 0 if it is intra, -1 without place."""
    if colocated.indices[which, y, x] < 0:
        return np.int64(0)
    distance = colocated.distances[which, y, x]
    for i in range(colocated.lists.shape[1]):
        if colocated.lists[number, i] == distance and distance:
            return np.int64(i)
    return np.int64(-1)
