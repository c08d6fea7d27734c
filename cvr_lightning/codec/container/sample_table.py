"""Packets of an MP4 file from its sample tables, as FFmpeg reads them when it opens the file.

FFmpeg's index holds the decoding time, position, size and flags of each sample, edit lists included. Display
times are not part of it; they are decoding times plus the offsets of the composition table (ISO/IEC 14496-12,
8.6.1.3).
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from itertools import islice
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from av.packet import Packet
from av.video.stream import VideoStream

from cvr_lightning.codec.container.composition import composition_offsets
from cvr_lightning.codec.container.demux import Demuxer

FIRST_PACKETS = 8
"""Packets that are read, to check the table."""
_BATCH = 4096
_KEYFRAME, _DISCARDED = 1, 2  # flags of AVIndexEntry


class SampleTable(NamedTuple):
    """The packets of a track.

    Attributes:
        pts: (P,) int64, display times.
        dts: (P,) int64, decoding times.
        positions: (P,) int64, positions of the data in the file.
        sizes: (P,) int64, sizes in bytes.
        keyframes: (P,) bool, the container's keyframe flags.
        discarded: (P,) bool, the frame is decoded but not shown.
    """

    pts: npt.NDArray[np.int64]
    dts: npt.NDArray[np.int64]
    positions: npt.NDArray[np.int64]
    sizes: npt.NDArray[np.int64]
    keyframes: npt.NDArray[np.bool_]
    discarded: npt.NDArray[np.bool_]


def sample_table(demuxer: Demuxer, first: Sequence[Packet[VideoStream]]) -> SampleTable | None:
    """The packets of a freshly opened file, None if only reading them can tell.

    Args:
        demuxer: The file.
        first: Its first :data:`FIRST_PACKETS` packets, with which the table must agree.
    """
    if "mov" not in demuxer.container.format.name.split(",") or not first:
        return None
    dts, positions, sizes, flags = _entries(demuxer.stream)
    whole = (sizes > 0) & (positions >= 0) & (positions <= demuxer.size - sizes)
    if not len(dts) or not whole.all():
        return None
    offsets = composition_offsets(demuxer.read, demuxer.size, demuxer.stream.id, len(dts))
    if offsets is None:
        return None
    # FFmpeg shifts all display times if an offset is negative.
    pts = dts + offsets + ((first[0].pts or 0) - (first[0].dts or 0) - offsets[0])
    if (pts < dts).any():  # FFmpeg may replace such times
        return None
    table = SampleTable(pts, dts, positions, sizes, flags & _KEYFRAME != 0, flags & _DISCARDED != 0)
    return table if _agree(table, first) else None


def _entries(stream: VideoStream) -> npt.NDArray[np.int64]:
    """(4, P) decoding time, position, size and flags of each sample."""
    rest, parts = iter(stream.index_entries), [np.empty((0, 4), np.int64)]
    while batch := list(islice(rest, _BATCH)):
        rows = array(
            "q", (value for entry in batch for value in (entry.timestamp, entry.pos, entry.size, entry.flags))
        )
        parts.append(np.frombuffer(rows, np.int64).reshape(-1, 4))
    return np.ascontiguousarray(np.concatenate(parts).T)


def _agree(table: SampleTable, first: Sequence[Packet[VideoStream]]) -> bool:
    """Whether the first packets are those of the table."""
    columns = (column[:FIRST_PACKETS].tolist() for column in table)
    rows = [(*row[:4], row[5]) for row in zip(*columns, strict=True)]
    read = [(packet.pts, packet.dts, packet.pos, packet.size, packet.is_discard) for packet in first]
    return rows == read and not any(packet.is_corrupt for packet in first)
