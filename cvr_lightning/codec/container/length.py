"""Declared length of a file, which FFmpeg does not report.

Without the declared length, a file truncated between two packets would be taken for a shorter video.
"""

from __future__ import annotations

HEAD_BYTES = 4096
"""Bytes at the start of a file that :func:`declared_size` needs."""
_EBML = b"\x1a\x45\xdf\xa3"
_UNKNOWN = 0xFFFFFFFF
"""Size in an AVI file that was written to a pipe."""
_SEGMENT = b"\x18\x53\x80\x67"


def declared_size(head: bytes) -> int | None:
    """The minimum size in bytes that an AVI or Matroska file declares, None if not declared.

    MP4 is not checked: its sample table lists every packet. MPEG program and transport streams declare no
    size, so truncation cannot be detected.

    Args:
        head: The first bytes of the file.
    """
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        size = int.from_bytes(head[4:8], "little")
        return None if size == _UNKNOWN else size + 8
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
    """Data size of an EBML element, None if unknown, and the offset of its data (RFC 8794, 4 and 6)."""
    if position >= len(data) or not data[position]:
        return None
    length = 9 - data[position].bit_length()
    value = int.from_bytes(data[position : position + length], "big")
    mask = (1 << 7 * length) - 1
    return (None if value & mask == mask else value & mask), position + length
