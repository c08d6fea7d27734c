"""Where decoding begins for a frame, and whether the packets from there on are sound."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from cvr_lightning.codec.container.index import PacketIndex

_TRIES = 2
"""Starts that are tried before the whole video is decoded up to the frame."""


def starts_before(index: PacketIndex, frame: int) -> list[int]:
    """Packets at which decoding may begin to give a frame, the best one first, the first packet last.

    A frame that is shown before the I-frame which its run begins with (an open GOP) needs an earlier one.
    """
    packet = int(index.frame_packets[frame])
    starts = np.flatnonzero(index.starts[: packet + 1])[::-1][: 2 * _TRIES].tolist()
    numbers = index.frame_of_packet
    good = [start for start in starts if numbers.get(start, -1) <= frame]
    return list(dict.fromkeys([*good[:_TRIES], 0]))


def runs(index: PacketIndex, frames: Sequence[int]) -> Iterator[tuple[int, list[int]]]:
    """Frames in the order asked that share the best packet to begin with: the packet, the frames."""
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
    """The first damaged packet that a frame decoded from ``start`` depends on, None where there is none.

    Frames that nothing refers to are passed over, and those shown before the run's first frame: in an open
    GOP they may lack what they are predicted from.
    """
    packet, numbers = int(index.frame_packets[frame]), index.frame_of_packet
    first = numbers.get(start, -1)
    for number in (start + np.flatnonzero(index.damaged[start : packet + 1])).tolist():
        leads = numbers.get(number, first) < first <= frame
        if number == packet or not (leads or not index.reference[number]):
            return int(number)
    return None
