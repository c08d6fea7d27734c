"""Composition offsets of an MP4 track: display time minus decoding time (ISO/IEC 14496-12, 8.6.1.3)."""

from __future__ import annotations

from itertools import islice

import numpy as np
import numpy.typing as npt

from cvr_lightning.codec.container.boxes import Box, Read, boxes

_RUN = np.dtype([("samples", ">u4"), ("offset", ">i4")])
_LARGEST_OFFSET = 1 << 28  # FFmpeg ignores a table with larger ones


def composition_offsets(read: Read, size: int, track: int, samples: int) -> npt.NDArray[np.int64] | None:
    """The offset of each sample; None for what FFmpeg may read otherwise than sample by sample.

    That is a fragmented, encrypted or edited track, and a table for another number of samples.

    Args:
        read: Reads the file.
        size: Size of the file in bytes.
        track: ID of the track.
        samples: Number of its samples.
    """
    found = _find_track(read, size, track)
    if found is None or _edits(read, found) > 1:
        return None
    table = _only(read, found, b"mdia", b"minf", b"stbl")
    if table is None or not _is_clear(read, table):
        return None
    offsets = _find(read, table, b"ctts")
    if not offsets:
        return np.zeros(samples, np.int64)
    return _expand(read, offsets[0], samples) if len(offsets) == 1 else None


def _find(read: Read, parent: Box, kind: bytes) -> list[Box]:
    """The first two boxes of a kind inside another one."""
    return list(islice((box for box in boxes(read, parent.start, parent.end) if box.kind == kind), 2))


def _only(read: Read, parent: Box, *kinds: bytes) -> Box | None:
    """Descend through boxes each of which is the only one of its kind."""
    for kind in kinds:
        found = _find(read, parent, kind)
        if len(found) != 1:
            return None
        parent = found[0]
    return parent


def _find_track(read: Read, size: int, number: int) -> Box | None:
    """The track of a number, None if the file is fragmented or the number is not unique."""
    outer = list(islice((box for box in boxes(read, 0, size) if box.kind in (b"moov", b"moof")), 2))
    if [box.kind for box in outer] != [b"moov"]:
        return None
    tracks = []  # FFmpeg opens no file with more than a thousand
    for box in boxes(read, outer[0].start, outer[0].end):
        if box.kind == b"mvex":
            return None
        if box.kind == b"trak" and _number(read, box) == number:
            tracks.append(box)
    return tracks[0] if len(tracks) == 1 else None


def _number(read: Read, track: Box) -> int:
    header = _only(read, track, b"tkhd")
    if header is None:
        return -1
    place = header.start + (20 if read(header.start, 1) == b"\1" else 12)
    return int.from_bytes(read(place, 4), "big")


def _edits(read: Read, track: Box) -> int:
    """Number of edits of a track, without an empty one at its begin."""
    lists = [box for edits in _find(read, track, b"edts") for box in _find(read, edits, b"elst")]
    if len(lists) != 1:
        return len(lists)
    head = read(lists[0].start, 24)
    media_time = head[16:24] if head[:1] == b"\1" else head[12:16]
    return int.from_bytes(head[4:8], "big") - (media_time == b"\xff" * len(media_time))


def _is_clear(read: Read, table: Box) -> bool:
    """Whether all samples have one description, and are not encrypted."""
    descriptions = _only(read, table, b"stsd")
    if descriptions is None:
        return False
    head = read(descriptions.start, 16)
    return head[4:8] == b"\0\0\0\1" and head[12:16] != b"encv"


def _expand(read: Read, box: Box, samples: int) -> npt.NDArray[np.int64] | None:
    """The offset of each sample from a table of runs, None if it has other samples."""
    count = int.from_bytes(read(box.start + 4, 4), "big")
    data = read(box.start + 8, count * _RUN.itemsize) if 0 < count <= samples else b""
    if not data or len(data) != count * _RUN.itemsize or box.start + 8 + len(data) > box.end:
        return None
    runs = np.frombuffer(data, _RUN)
    lengths, offsets = runs["samples"].astype(np.int64), runs["offset"].astype(np.int64)
    if lengths.min() < 1 or lengths.sum() != samples or np.abs(offsets).max() > _LARGEST_OFFSET:
        return None
    return np.repeat(offsets, lengths)
