"""What the bytes of a container tell beside what FFmpeg does: its declared length, places of packets.

A file cut between two packets would pass for a shorter video.
"""

from __future__ import annotations

import mmap

HEAD_BYTES = 4096
"""Front of a file that :func:`declared_size` wants to see."""
_EBML = b"\x1a\x45\xdf\xa3"
_PROBE_BYTES = 64
_NEAR_BYTES = 4096
_SEGMENT = b"\x18\x53\x80\x67"


def declared_size(head: bytes) -> int | None:
    """Bytes that an AVI or Matroska file should have at least, None where it does not say.

    MP4 needs no such look, for its sample table tells FFmpeg of every packet. MPEG program and transport
    streams declare nothing: a cut one is a shorter one.

    Args:
        head: The first bytes of the file.
    """
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return int.from_bytes(head[4:8], "little") + 8
    if head[:4] == _EBML:
        header = _element_size(head, 4)
        if header is not None and header[0] is not None:
            start = header[1] + header[0]
            if head[start : start + 4] == _SEGMENT:
                segment = _element_size(head, start + 4)
                if segment is not None and segment[0] is not None:
                    return segment[1] + segment[0]
    return None


def _element_size(data: bytes, position: int) -> tuple[int | None, int] | None:
    """An EBML element's data size, None where unknown, and where the data begin (RFC 8794, 4 and 6)."""
    if position >= len(data) or not data[position]:
        return None
    length = 9 - data[position].bit_length()
    value = int.from_bytes(data[position : position + length], "big")
    mask = (1 << 7 * length) - 1
    return (None if value & mask == mask else value & mask), position + length


class PacketFinder:
    """Finds where in its file a packet's bytes lie in one piece.

    A demuxer's position may be that of a chunk or block header in front of the packet; containers may also
    compress, interleave or rewrite what they hold.

    Args:
        file: The bytes of the file.
    """

    def __init__(self, file: bytes | mmap.mmap) -> None:
        self._file = file
        self._end = 0

    def find(self, data: bytes, position: int) -> int:
        """The byte at which a packet begins, -1 where it is not found near by.

        Args:
            data: The packet.
            position: What the demuxer says, -1 where it does not.
        """
        start = self._end if position < 0 else position
        place = self._file.find(data[:_PROBE_BYTES], start, start + _NEAR_BYTES + _PROBE_BYTES)
        if place < 0 or self._file[place : place + len(data)] != data:
            return -1
        self._end = place + len(data)
        return place
