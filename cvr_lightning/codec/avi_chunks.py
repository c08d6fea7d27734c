"""Chunks of an AVI file: whether its index lists those that are found by reading one after the other."""

from __future__ import annotations

from cvr_lightning.codec.bitstream.kernels import kernel, subroutine
from cvr_lightning.codec.bitstream.words import load_word

CHUNK_HEAD = 8
"""Bytes of a chunk before its data: kind and size."""
_LIST_HEAD = 12


def _number(kind: bytes) -> int:
    return int.from_bytes(kind, "little")


_LIST = _number(b"LIST")
_WITHOUT_STREAM = (_LIST, _number(b"JUNK"), _number(b"idx1"))
_PART_OF_INDEX = _number(b"ix")  # before the number of a stream
_VIDEO = (_number(b"dc"), _number(b"db"))  # after it
_CONTENTS = (*_VIDEO, _number(b"wb"), _number(b"tx"))
_ZERO = ord("0")


@kernel
def lists_all_chunks(file, stream, streams, times, positions, sizes):  # type: ignore[no-untyped-def]
    """Whether the listed chunks are all of their stream, from the first one to the end of the file.

    False if a chunk is of an unknown kind or exceeds the file, where FFmpeg searches for the next one, or if
    times are not the count of all chunks before. Empty chunks are counted but not listed.

    Args:
        file: (bytes,) uint8, the file.
        stream: Number of the stream.
        streams: Number of streams.
        times: (C,) int64, time of each chunk.
        positions: (C,) int64, where each begins.
        sizes: (C,) int64, the bytes of its data.
    """
    at, found, time, count = positions[0], 0, times[0], len(positions)
    while at + CHUNK_HEAD <= file.size:
        head = int(load_word(file, at))
        kind, size = head & 0xFFFFFFFF, head >> 32 & 0xFFFFFFFF
        number, content = _stream_number(kind), kind >> 16
        if number == stream and content in _VIDEO:
            if size:
                if found == count or positions[found] != at or sizes[found] != size or times[found] != time:
                    return False
                found += 1
            time += 1
        elif number == stream or not _is_known(kind, streams) or at + CHUNK_HEAD + size > file.size:
            return found == count and not _has_chunk(file, at, stream)
        at += _LIST_HEAD if kind == _LIST else CHUNK_HEAD + size + (size & 1)
    return found == count


@subroutine
def _stream_number(kind):  # type: ignore[no-untyped-def]
    """The number of the stream of a chunk, -1 if it has none."""
    tens, ones = (kind & 255) - _ZERO, (kind >> 8 & 255) - _ZERO
    return 10 * tens + ones if 0 <= tens <= 9 and 0 <= ones <= 9 else -1


@subroutine
def _is_known(kind, streams):  # type: ignore[no-untyped-def]
    if kind in _WITHOUT_STREAM:
        return True
    front, back = kind & 0xFFFF, kind >> 16
    number = _stream_number(back) if front == _PART_OF_INDEX else _stream_number(front)
    return 0 <= number < streams and (front == _PART_OF_INDEX or back in _CONTENTS)


@subroutine
def _has_chunk(file, at, stream):  # type: ignore[no-untyped-def]
    """Whether four bytes after a position could be the kind of a chunk of a video stream."""
    for place in range(at, file.size - CHUNK_HEAD + 1):
        kind = int(load_word(file, place)) & 0xFFFFFFFF
        if _stream_number(kind) == stream and kind >> 16 in _VIDEO:
            return True
    return False
