"""The motion of earlier pictures from which direct prediction infers that of B slices."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from cvr_lightning.codec.h264.direct import Colocated
from cvr_lightning.codec.h264.slice_lists import SliceLists

_UNSCALED = 256
"""DistScaleFactor that leaves a vector as it is."""


class Motion(NamedTuple):
    """The motion of a picture of M x N macroblocks, as later ones see it.

    Attributes:
        vectors: (4 M, 4 N, 2) int16, of list 0 or, where a block does not use it, of list 1.
        indices: (2 M, 2 N) int8, ref_idx of these vectors, -1 in intra blocks.
        distances: (2 M, 2 N) int64, frames from the picture back to what they refer to.
    """

    vectors: npt.NDArray[np.int16]
    indices: npt.NDArray[np.int8]
    distances: npt.NDArray[np.int64]


def motion_of(
    vectors: npt.NDArray[np.int16], indices: npt.NDArray[np.int8], distances: npt.NDArray[np.int64]
) -> Motion:
    """The motion of a picture from that of both of its lists, whose axis is the first."""
    second = indices[0] < 0
    blocks = second.repeat(2, 0).repeat(2, 1)[..., None]
    return Motion(
        np.where(blocks, vectors[1], vectors[0]),
        np.where(second, indices[1], indices[0]),
        np.where(second, distances[1], distances[0]),
    )


def _scale(order_0: int, order_1: int) -> int:
    """DistScaleFactor (8.4.1.2.3), from the distances to a reference and to the first one of list 1."""
    td = min(max(order_0 - order_1, -128), 127)
    if td == 0:
        return _UNSCALED
    tb = min(max(order_0, -128), 127)
    tx = int((16384 + abs(int(td / 2))) / td)
    return min(max((tb * tx + 32) >> 6, -1024), 1023)


def colocated_of(lists: Sequence[SliceLists], motions: Mapping[int, Motion]) -> Colocated:
    """What the slices of a picture infer vectors from.

    Args:
        lists: Their reference lists.
        motions: Motion of the pictures that are first in a list 1, by their distance.
    """
    places = {distance: place for place, distance in enumerate(motions)}
    scales = np.full((len(lists), lists[0].orders.shape[1]), _UNSCALED, np.int64)
    for row, item in zip(scales, lists, strict=True):
        for i in range(item.counts[0] if item.counts[1] else 0):
            if not item.long_term[0, i]:
                row[i] = _scale(int(item.orders[0, i]), int(item.orders[1, 0]))
    return Colocated(
        np.stack([motion.vectors for motion in motions.values()]),
        np.stack([motion.indices for motion in motions.values()]),
        np.stack([motion.distances + distance for distance, motion in motions.items()]),
        np.array([places[int(item.distances[1, 0])] if item.counts[1] else -1 for item in lists]),
        np.array([bool(item.counts[1]) and not item.long_term[1, 0] for item in lists]),
        np.stack([item.distances[0] for item in lists]),
        scales,
    )


def colocated_distances(lists: Sequence[SliceLists]) -> list[int]:
    """Frames from a picture back to the first entries of its lists 1."""
    return sorted({int(item.distances[1, 0]) for item in lists if item.counts[1]})


def in_decoding_order(
    frame: int, referred: Callable[[int], Sequence[int]], order: Callable[[int], int]
) -> list[int]:
    """The frames whose motion a frame needs, directly or not, and the frame itself at last.

    Args:
        frame: The frame.
        referred: The frames whose motion a frame needs directly, decoded before it.
        order: The place of a frame in decoding order.
    """
    needed, waiting = {frame}, [frame]
    while waiting:
        found = set(referred(waiting.pop())) - needed
        needed |= found
        waiting += found
    return sorted(needed, key=order)
