"""MP4 files that muxers do not write: their boxes are changed, and written again."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import av

_BOXES_OF_BOXES = (b"moov", b"trak", b"edts", b"mdia", b"minf", b"stbl")

Change = Callable[[bytes, bytes], "tuple[bytes, bytes]"]
"""The new kind and content of a box, given those it has."""


def rewrite(path: Path, change: Change) -> Path:
    """Change the boxes of a file whose media data precede its tables, so positions stay valid."""
    data = path.read_bytes()
    assert data.index(b"mdat") < data.index(b"moov")
    path.write_bytes(_rewritten(data, change))
    return path


def _rewritten(data: bytes, change: Change) -> bytes:
    out, place = b"", 0
    while place < len(data):
        size, kind = struct.unpack_from(">I4s", data, place)
        content = data[place + 8 : place + size]
        if kind in _BOXES_OF_BOXES:
            content = _rewritten(content, change)
        kind, content = change(kind, content)
        out += struct.pack(">I4s", 8 + len(content), kind) + content
        place += size
    return out


def two_tracks(first: Path, second: Path, target: Path) -> Path:
    """The videos of two files as tracks of one, packet by packet in turn."""
    with av.open(str(first)) as one, av.open(str(second)) as other, av.open(str(target), "w") as new:
        sources = [
            (new.add_stream_from_template(old.streams.video[0]), old.demux(video=0)) for old in (one, other)
        ]
        packets = [
            (packet.dts, number, packet)
            for number, (_, demuxed) in enumerate(sources)
            for packet in demuxed
            if packet.size
        ]
        for _, number, packet in sorted(packets, key=lambda row: row[:2]):
            packet.stream = sources[number][0]
            new.mux(packet)
    return target
