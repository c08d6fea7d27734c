"""Consistency checks of a packet index, run when one is read from disk."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import fields
from string import ascii_uppercase
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from cvr_lightning.codec.container.index import PacketIndex, StreamFacts

_LONGEST_SIDE = 1 << 16
_LONGEST_TEXT = 100
_LONGEST_LIST = 32
_TYPES = b"?" + ascii_uppercase.encode()
_OF_OTHER_LENGTH = ("headers", "header_ends", "reference_lists")


def check_index(index: PacketIndex) -> None:
    """Check that an index is consistent.

    Raises:
        ValueError: It is not; the message names the column.
    """
    _check_facts(index.facts)
    _check_lengths(index)
    _check_types(index)
    packets, file_size = len(index.types), index.facts.file_size
    _check_range("sizes", index.sizes, 0, (1 << 31) - 1)
    _check_range("positions", index.positions, -1, file_size - 1)
    _check_range("data_positions", index.data_positions, -1, file_size - 1)
    located = index.data_positions >= 0
    _check_range("data_positions", (index.data_positions + index.sizes)[located], 0, file_size)
    _check_range("frame_packets", index.frame_packets, 0, packets - 1)
    _check_range("frame_ends", index.frame_ends, 0, packets - 1)
    _check_range("frame_sources", index.frame_sources, 0, packets - 1)
    _check_range("frame_offsets", index.frame_offsets, 0, (1 << 31) - 1)
    _check_range("frame_sizes", index.frame_sizes, 0, (1 << 31) - 1)
    rest = index.sizes[index.frame_sources] - index.frame_offsets - index.frame_sizes
    _check_range("frame_sizes", rest, 0, (1 << 31) - 1)
    _check_range("frame_headers", index.frame_headers, 0, max(0, len(index.header_ends) - 1))
    _check_kinds(index)
    ends = [0, *index.header_ends.tolist()]
    if ends != sorted(ends) or ends[-1] != len(index.headers):
        raise ValueError("header_ends: not the ends of the headers")
    _check_lists(index.reference_lists, index.frame_list_ends)


def _check_lists(lists: npt.NDArray[np.int64], ends: npt.NDArray[np.int64]) -> None:
    """Check that the lists of each frame are complete (see :class:`PacketIndex`)."""
    if not len(lists) and not ends.any():  # other codecs than H.264
        return
    sizes = np.diff(ends, prepend=0)
    if (sizes < 0).any() or int(ends[-1]) != len(lists):
        raise ValueError("frame_list_ends: not the ends of the lists")
    begins = ends - sizes
    first, second = (lists[np.minimum(begins + k, len(lists) - 1)] for k in range(2))
    sound = (np.minimum(first, second) >= 0) & (np.maximum(first, second) <= _LONGEST_LIST)
    of_one_slice = sound & (sizes == 2 + (first + second) * np.where(second > 0, 2, 1))
    for frame in np.flatnonzero((sizes > 0) & ~of_one_slice).tolist():
        _check_slices(lists[begins[frame] : ends[frame]].tolist())


def _check_slices(values: Sequence[int]) -> None:
    """Check the lists of one frame."""
    place = 0
    while place < len(values):
        sizes = values[place : place + 2]
        if len(sizes) < 2 or min(sizes) < 0 or max(sizes) > _LONGEST_LIST:
            raise ValueError("reference_lists: no lengths of lists")
        place += 2 + sum(sizes) * (2 if sizes[1] else 1)
    if place != len(values):
        raise ValueError("reference_lists: not whole")


def _check_facts(facts: StreamFacts) -> None:
    limits = {"width": _LONGEST_SIDE, "height": _LONGEST_SIDE, "file_size": 1 << 62}
    kinds = {"int": (int,), "str": (str,), "bool": (bool,), "float": (int, float)}
    for item in fields(facts):
        value = getattr(facts, item.name)
        sound = type(value) in kinds[str(item.type)]
        if sound and isinstance(value, str):
            sound = len(value) <= _LONGEST_TEXT
        elif sound:
            sound = math.isfinite(value) and 0 <= value <= limits.get(item.name, value)
        if not sound:
            raise ValueError(f"{item.name}: {value!r:.50}")
    if facts.rotation not in (0, 90, 180, 270):
        raise ValueError(f"rotation: {facts.rotation}")


def _check_lengths(index: PacketIndex) -> None:
    packets, frames = len(index.types), len(index.frame_packets)
    for item in fields(index)[1:]:
        expected = frames if item.name.startswith("frame_") else packets
        length = len(getattr(index, item.name))
        if item.name not in _OF_OTHER_LENGTH and length != expected:
            raise ValueError(f"{item.name}: {length} rows instead of {expected}")
    if not frames or not packets:
        raise ValueError(f"{frames} frames in {packets} packets")


def _check_types(index: PacketIndex) -> None:
    for name in ("types", "frame_kinds"):
        if getattr(index, name).tobytes().translate(None, _TYPES):
            raise ValueError(f"{name}: no types of pictures")


def _check_kinds(index: PacketIndex) -> None:
    """Check that a frame has the type of its packet's first picture, unless it is a later picture."""
    places = index.frame_sources if index.codec == "mpeg4" else index.frame_packets
    begun, kinds = index.types.view(np.uint8)[places], index.frame_kinds.view(np.uint8)
    unknown, nothing = ord("?"), ord("N")
    told = (index.frame_offsets == 0) & (kinds != unknown) & (begun != unknown) & (begun != nothing)
    if (told & (begun != kinds)).any():
        raise ValueError("frame_kinds: other types than the packets'")


def _check_range(name: str, values: npt.NDArray[np.int64], low: int, high: int) -> None:
    if len(values) and not low <= int(values.min()) <= int(values.max()) <= high:
        raise ValueError(f"{name}: {values.min()} to {values.max()} instead of {low} to {high}")
