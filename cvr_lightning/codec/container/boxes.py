"""Boxes of an MP4 file (ISO/IEC 14496-12, 4.2)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

Read = Callable[[int, int], bytes]
"""Reads from a position of a file a number of bytes, fewer at its end."""


class Box(NamedTuple):
    """A box: its kind, and where its content begins and ends in the file."""

    kind: bytes
    start: int
    end: int


def boxes(read: Read, start: int, end: int) -> Iterator[Box]:
    """The boxes between two positions of a file, up to the first one that is malformed."""
    while start < end:
        head = read(start, 16)
        length, kind = int.from_bytes(head[:4], "big"), head[4:8]
        header = 16 if length == 1 else 8
        if length == 1:
            length = int.from_bytes(head[8:16], "big")
        following = start + length if length else end
        if len(head) < header or following < start + header:
            return
        yield Box(kind, start + header, min(following, end))
        start = following
