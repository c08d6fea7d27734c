"""Declared length of a file, which FFmpeg does not report, and numbers of samples, which it does not check.

Without the declared length, a file truncated between two packets would be taken for a shorter video. An MP4
file may declare any number of samples of one size, for each of which FFmpeg allocates.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from cvr_lightning.codec.container.boxes import Box, Read, boxes

_HEAD_BYTES = 4096
"""Bytes at the start of a file that :func:`declared_size` needs."""
_BOXES_OF_BOXES = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"moof", b"traf")
_MOST_BOXES = 1 << 20
"""An hour with a fragment for each frame has some 800,000; a loop over them takes seconds."""
_SAMPLE_FIELDS = 0xF00
"""Flags of a fragment (trun) whose samples have fields of their own, which the file must hold."""
_SAMPLES_PER_BYTE = 32
"""Most samples in a byte of a file: those of compressed sound, which QuickTime counts before compression."""
_EBML = b"\x1a\x45\xdf\xa3"
_UNKNOWN = 0xFFFFFFFF
"""Size in an AVI file that was written to a pipe."""
_SEGMENT = b"\x18\x53\x80\x67"


def length_fault(read: Read, size: int) -> str:
    """Why a file is shorter than it declares; empty if it is not.

    Args:
        read: Reads from a position a number of bytes, fewer at the end of the file.
        size: Size of the file in bytes.
    """
    declared = declared_size(read(0, _HEAD_BYTES))
    if declared is not None and declared > size:
        return f"it is cut short: its header declares {declared} bytes, it has {size}"
    samples = 0
    for number, (kind, start, _) in enumerate(_all_boxes(read, size), 1):
        if number > _MOST_BOXES:
            return f"it has more than {_MOST_BOXES:,} boxes"
        if kind in (b"stsz", b"trun"):
            samples = max(samples, _uniform_samples(kind, read(start, 12)))
    if samples > size * _SAMPLES_PER_BYTE:
        return f"its header declares {samples} samples in a file of {size} bytes"
    return ""


def _all_boxes(read: Read, size: int) -> Iterator[Box]:
    """The boxes of an MP4 file down to the tables of its tracks and fragments."""
    if read(4, 4) not in (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot", b"styp"):
        return
    waiting = [(0, size)]
    while waiting:
        for box in boxes(read, *waiting.pop()):
            yield box
            if box.kind in _BOXES_OF_BOXES:
                waiting.append((box.start, box.end))


def _uniform_samples(kind: bytes, head: bytes) -> int:
    """Samples that a box declares without a field for each, given its first bytes."""
    if len(head) < 12:
        return 0
    flags, first, second = struct.unpack(">3I", head)
    if kind == b"stsz":
        return second if first else 0
    return 0 if flags & _SAMPLE_FIELDS else first


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
