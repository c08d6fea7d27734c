"""Where to start decoding for a frame, and whether the packets from there are intact."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from cvr_lightning.codec.container.index import PacketIndex

_TRIES = 2
"""Start packets to try before decoding the video from its beginning."""


def starts_before(index: PacketIndex, frame: int) -> list[int]:
    """Packets from which the frame can be decoded: best first, the first packet of the file last.

    A frame of an open GOP that is shown before its I-frame needs an earlier start.
    """
    packet = int(index.frame_packets[frame])
    starts = np.flatnonzero(index.starts[: packet + 1])[::-1][: 2 * _TRIES].tolist()
    numbers = index.frame_of_packet
    good = [start for start in starts if numbers.get(start, -1) <= frame]
    return list(dict.fromkeys([*good[:_TRIES], 0]))


def runs(index: PacketIndex, frames: Sequence[int]) -> Iterator[tuple[int, list[int]]]:
    """Group consecutive requested frames by their best start packet: yields the packet and the frames."""
    first, together = -1, list[int]()
    for frame in frames:
        start = starts_before(index, frame)[0]
        if start != first and together:
            yield first, together
            together = []
        first = start
        together.append(frame)
    if together:
        yield first, together


def damage_before(index: PacketIndex, start: int, frame: int) -> int | None:
    """The first damaged packet that a frame decoded from ``start`` depends on, None if there is none.

    Skips non-reference frames, and frames shown before the first frame of the run: in an open GOP, their
    references may be missing.
    """
    packet, numbers = int(index.frame_packets[frame]), index.frame_of_packet
    first = numbers.get(start, -1)
    for number in (start + np.flatnonzero(index.damaged[start : packet + 1])).tolist():
        leads = numbers.get(number, first) < first <= frame
        if number == packet or not (leads or not index.reference[number]):
            return int(number)
    return None
