"""What a container lists of its packets is what reading them tells: AVI files, real files, mutated lists."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.encoders import encode
from helpers.mp4 import two_tracks
from helpers.passes import Pass
from helpers.real_clips import REAL_CLIPS
from helpers.remux import remux

from cvr_lightning.codec import VideoBytes

BFRAMES = {"bf": "2"}
CHUNK = b"00dc" + struct.pack("<I4s", 4, b"none")


@pytest.mark.parametrize("options", [{}, BFRAMES])
def test_the_index_of_an_avi_file_tells_the_packets(
    tmp_path: Path, passes: Pass, options: dict[str, str]
) -> None:
    path = encode(tmp_path / "a.avi", (64, 48), options=options)
    assert passes.same(path)
    with_gap = remux(path, tmp_path / "gap.avi", lambda number: number < 5 or number > 11)
    assert CHUNK[:4] + bytes(4) in with_gap.read_bytes()  # empty chunks take the time of the missing frames
    assert passes.same(with_gap)
    path.write_bytes(path.read_bytes() + b"LIST" + struct.pack("<I4s4sI4s", 16, b"INFO", b"ISFT", 4, b"none"))
    assert passes.same(path)


def add(data: bytearray, place: int, number: int) -> None:
    struct.pack_into("<I", data, place, struct.unpack_from("<I", data, place)[0] + number)


def leave_out(data: bytearray, entry: int) -> None:
    data[entry : entry + 4] = b"JUNK"


def move(data: bytearray, entry: int) -> None:
    add(data, entry + 8, 2)


def lengthen(data: bytearray, entry: int) -> None:
    add(data, entry + 12, 2)


def append(data: bytearray, entry: int) -> None:
    data += CHUNK


def append_strange(data: bytearray, entry: int) -> None:
    data += b"strange " + CHUNK


@pytest.mark.parametrize("change", [leave_out, move, lengthen, append, append_strange])
def test_the_packets_of_an_avi_file_with_another_index_are_read(
    tmp_path: Path, passes: Pass, change: Callable[[bytearray, int], None]
) -> None:
    data = bytearray(encode(tmp_path / "a.avi", (64, 48)).read_bytes())
    change(data, data.index(b"idx1") + 8 + 16 * 9)
    assert not passes.same(VideoBytes("a.avi", bytes(data)))


def test_the_packets_of_an_avi_file_with_a_damaged_index_of_another_stream_are_read(
    tmp_path: Path, passes: Pass
) -> None:
    """FFmpeg reads such streams one after the other in time, and ends where it finds none."""
    first = encode(tmp_path / "first.avi", (96, 64), frames=75)
    path = two_tracks(first, encode(tmp_path / "second.avi", (64, 48), frames=75), tmp_path / "a.avi")
    assert passes.same(path)
    data = bytearray(path.read_bytes())
    add(data, data.index(b"01dc", data.index(b"idx1") + 500) + 8, 1 << 24)
    assert not passes.same(VideoBytes("a.avi", bytes(data)))


def test_the_packets_of_an_avi_file_with_other_times_are_read(tmp_path: Path, passes: Pass) -> None:
    """The empty chunks that its index counts are no chunks of the video."""
    path = encode(tmp_path / "a.avi", (64, 48))
    gap = remux(path, tmp_path / "gap.avi", lambda number: number < 10 or number > 16).read_bytes()
    chunks, mark, index = gap.partition(b"idx1")
    assert not passes.same(
        VideoBytes("a.avi", chunks.replace(b"00dc" + bytes(4), b"JUNK" + bytes(4)) + mark + index)
    )


def test_real_files_have_one_index(passes: Pass) -> None:
    names = [path for folder in ("clips", "h264", "defects") for path in (REAL_CLIPS / folder).rglob("*")]
    files = [path for path in names if path.suffix in (".mp4", ".mov", ".avi")]
    if not files:
        pytest.skip("no real clips: CVR_TEST_CLIPS names no folder that holds them")
    assert sum(passes.same(path) for path in files) > len(files) // 2


@pytest.mark.parametrize(
    ("codec", "name", "tables"),
    [("libx264", "a.mp4", b"moov"), ("mpeg4", "a.mp4", b"moov"), ("mpeg4", "a.avi", b"idx1")],
)
def test_mutated_tables_tell_what_the_packets_tell(
    tmp_path: Path, passes: Pass, codec: str, name: str, tables: bytes
) -> None:
    sound = encode(tmp_path / name, (64, 48), codec=codec, options=BFRAMES).read_bytes()
    draw, told = random.Random(0), 0
    for _ in range(100):
        data = bytearray(sound)
        for _ in range(draw.choice((1, 1, 2, 5))):
            place = draw.randrange(sound.index(tables), len(data))
            data[place] = draw.choice((0, 1, 255, draw.randrange(256)))
        told += passes.same(VideoBytes(name, bytes(data)))
    assert 0 < told < 90
