"""Reference lists of slices, as the packet index stores them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from cvr_lightning.codec.h264.slice_header import MOST_REFERENCES


class SliceLists(NamedTuple):
    """The reference lists of a slice.

    Attributes:
        counts: Their lengths; only B slices have a list 1.
        distances: (2, 32) int64, frames from the picture back to each entry in display order; 0 if the entry
            is missing.
        orders: (2, 32) int64, B slices only: the picture's order count minus that of each entry.
        long_term: (2, 32) bool, B slices only.
    """

    counts: tuple[int, int]
    distances: npt.NDArray[np.int64]
    orders: npt.NDArray[np.int64]
    long_term: npt.NDArray[np.bool_]


def read_slice_lists(lists: npt.NDArray[np.int64]) -> Iterator[SliceLists]:
    """The lists of each slice of a picture, see ``PacketIndex.reference_lists``."""
    place = 0
    while place < len(lists):
        first, second = lists[place : place + 2].tolist()
        place += 2
        tables = np.zeros((2, 2, MOST_REFERENCES), np.int64)
        for table in tables[: 2 if second else 1]:
            table[0, :first] = lists[place : place + first]
            table[1, :second] = lists[place + first : place + first + second]
            place += first + second
        yield SliceLists((first, second), tables[0], tables[1] >> 1, tables[1] % 2 == 1)
