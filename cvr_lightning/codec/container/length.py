"""The length that a container declares: a file cut between two packets would pass for a shorter video."""

from __future__ import annotations

HEAD_BYTES = 4096
"""Front of a file that :func:`declared_size` wants to see."""
_EBML = b"\x1a\x45\xdf\xa3"
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
