"""Files that declare more than they hold are refused before FFmpeg allocates for it."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from helpers.encoders import encode

from cvr_lightning.codec import CompressedVideoReader
from cvr_lightning.codec.container.length import length_fault
from cvr_lightning.codec.errors import UnreadableVideoError


def with_samples(path: Path, count: int) -> Path:
    """Let an MP4 file declare so many samples of a byte each, in one chunk."""
    data = bytearray(path.read_bytes())
    for box, values in (
        (b"stsz", (0, 1, count)),
        (b"stsc", (0, 1, 1, count, 1)),
        (b"stts", (0, 1, count, 512)),
    ):
        struct.pack_into(f">{len(values)}I", data, data.index(box) + 4, *values)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("count", [2**32 - 1, 100_000, 5_000])
def test_samples_without_bytes_are_refused(count: int, tmp_path: Path) -> None:
    path = with_samples(encode(tmp_path / "a.mp4", (64, 48), frames=8), count)
    assert path.stat().st_size < 5_000
    with pytest.raises(UnreadableVideoError, match=rf"declares {count} (samples|frames) in"):
        CompressedVideoReader(path)


def test_samples_of_a_fragment_need_fields_or_bytes() -> None:
    def file(flags: int, count: int) -> bytes:
        data = struct.pack(">III", 20, 0x7472756E, flags) + struct.pack(">II", count, 0)
        for kind in (b"traf", b"moof"):
            data = struct.pack(">I", 8 + len(data)) + kind + data
        return struct.pack(">I4s4sI", 16, b"ftyp", b"iso5", 0) + data

    def fault(data: bytes) -> str:
        return length_fault(lambda place, size: data[place : place + size], len(data))

    assert fault(file(0x001, 10)) == ""
    assert fault(file(0x001, 1 << 30)) == "its header declares 1073741824 samples in a file of 52 bytes"
    assert (
        fault(file(0x201, 1 << 30)) == ""
    )  # sizes of samples, which the file lacks: FFmpeg reads to its end


def test_each_box_is_read_once() -> None:
    """Also empty ones of those that hold boxes: from each of them, all that follow were read again."""
    data = struct.pack(">I4s4sI", 16, b"ftyp", b"isom", 0) + struct.pack(">I4s", 8, b"trak") * 1000
    places = list[int]()

    def read(place: int, size: int) -> bytes:
        places.append(place)
        return data[place : place + size]

    assert length_fault(read, len(data)) == ""
    assert len(places) < 1100


@pytest.mark.parametrize("name", ["a.mp4", "a.mov", "a.avi", "a.mkv", "a.3gp"])
def test_sound_files_declare_what_they_hold(name: str, tmp_path: Path) -> None:
    data = encode(tmp_path / name, (64, 48), frames=8).read_bytes()
    assert length_fault(lambda place, size: data[place : place + size], len(data)) == ""


def test_a_file_of_more_boxes_than_can_be_looked_at_is_refused() -> None:
    empty = b"\0\0\0\x08free"
    data = b"\0\0\0\x08ftyp" + (1 << 20) * empty
    read = memoryview(data)
    assert length_fault(lambda place, size: bytes(read[place : place + size]), len(data) - 8) == ""
    fault = length_fault(lambda place, size: bytes(read[place : place + size]), len(data))
    assert fault == "it has more than 1,048,576 boxes"
