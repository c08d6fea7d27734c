"""Packets as the container lists them, without reading them: the sample tables of MP4, the index of AVI.

FFmpeg reads these when it opens a file: decoding time, position, size and flags of each packet, edit lists of
MP4 included. Display times of MP4 are decoding times plus the offsets of another table; AVI has none.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from itertools import chain, islice
from operator import attrgetter
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from av.packet import Packet
from av.stream import Stream
from av.video.stream import VideoStream

from cvr_lightning.codec.avi_chunks import CHUNK_HEAD, lists_all_chunks
from cvr_lightning.codec.bitstream.compiling import call
from cvr_lightning.codec.container.composition import composition_offsets
from cvr_lightning.codec.container.demux import Demuxer
from cvr_lightning.codec.container.keys import NO_TIMESTAMP

FIRST_PACKETS = 8
"""Packets that are read, to check the table."""
_BATCH = 4096
_FIELDS = attrgetter("timestamp", "pos", "size", "flags")
_KEYFRAME, _DISCARDED = 1, 2  # flags of AVIndexEntry


class PacketTable(NamedTuple):
    """The packets of a stream.

    Attributes:
        pts: (P,) int64, display times; ``keys.NO_TIMESTAMP`` in AVI.
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


def packet_table(
    demuxer: Demuxer, first: Sequence[Packet[VideoStream]], file: npt.NDArray[np.uint8]
) -> PacketTable | None:
    """The packets of a freshly opened file, None if only reading them can tell.

    Args:
        demuxer: The file.
        first: Its first :data:`FIRST_PACKETS` packets, with which the table must agree.
        file: (bytes,) uint8, its content.
    """
    stream, names = demuxer.stream, demuxer.container.format.name.split(",")
    table = None
    if first and "mov" in names:
        table = _of_mp4(demuxer, _entries(stream), first[0])
    elif first and "avi" in names and stream.codec_context.name == "mpeg4":
        table = _of_avi(demuxer, _entries(stream), file)
    return table if table and _agree(table, first) else None


def _entries(stream: VideoStream) -> npt.NDArray[np.int64]:
    """(4, P) decoding time, position, size and flags of each packet."""
    rest, parts = map(_FIELDS, stream.index_entries), [np.empty((0, 4), np.int64)]
    while values := [*chain.from_iterable(islice(rest, _BATCH))]:
        packed = struct.pack(f"{len(values)}q", *values)
        parts.append(np.frombuffer(packed, np.int64).reshape(-1, 4))
    return np.ascontiguousarray(np.concatenate(parts).T)


def _of_mp4(
    demuxer: Demuxer, entries: npt.NDArray[np.int64], first: Packet[VideoStream]
) -> PacketTable | None:
    dts, positions, sizes, flags = entries
    whole = (sizes > 0) & (positions >= 0) & (positions <= demuxer.size - sizes)
    if not len(dts) or not whole.all():
        return None
    offsets = composition_offsets(demuxer.read, demuxer.size, demuxer.stream.id, len(dts))
    if offsets is None:
        return None
    # FFmpeg shifts all display times if an offset is negative.
    pts = dts + offsets + ((first.pts or 0) - (first.dts or 0) - offsets[0])
    if (pts < dts).any():  # FFmpeg may replace such times
        return None
    return PacketTable(pts, dts, positions, sizes, flags & _KEYFRAME != 0, flags & _DISCARDED != 0)


def _of_avi(
    demuxer: Demuxer, entries: npt.NDArray[np.int64], file: npt.NDArray[np.uint8]
) -> PacketTable | None:
    dts, positions, sizes, flags = entries
    whole = (sizes > 0) & (positions >= 0) & (positions <= len(file) - CHUNK_HEAD - sizes)
    if not len(dts) or not whole.all():
        return None
    stream, streams = demuxer.stream.index, demuxer.container.streams
    if not all(_ascends(other, len(file)) for other in streams if other.index != stream):
        return None
    if not call(lists_all_chunks, file, stream, len(streams), dts, positions, sizes):
        return None
    unknown = np.full(len(dts), NO_TIMESTAMP)
    keyframes = flags & _KEYFRAME != 0
    return PacketTable(unknown, dts, positions + CHUNK_HEAD, sizes, keyframes, np.zeros(len(dts), bool))


def _ascends(stream: Stream, size: int) -> bool:
    """Whether an index lists positions in the file in order; FFmpeg may stop reading at one that is not."""
    positions = [0, *(entry.pos for entry in stream.index_entries), size]
    return bool((np.diff(positions) >= 0).all())


def _agree(table: PacketTable, first: Sequence[Packet[VideoStream]]) -> bool:
    """Whether the first packets are those of the table."""
    columns = [column[:FIRST_PACKETS].tolist() for column in table]
    times = [packet.pts for packet in first]
    if columns[0] != times and columns[0] != [NO_TIMESTAMP] * len(times):
        return False
    rows = list(zip(*columns[1:4], columns[5], strict=True))
    read = [(packet.dts, packet.pos, packet.size, packet.is_discard) for packet in first]
    return rows == read and not any(packet.is_corrupt for packet in first)
