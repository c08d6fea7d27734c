"""What the sample tables of an MP4 file tell of its packets is what reading them tells."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from helpers.encoders import encode
from helpers.mp4 import rewrite, two_tracks
from helpers.passes import Pass
from helpers.remux import remux

from cvr_lightning.codec import CompressedVideoReader
from cvr_lightning.codec.container.composition import composition_offsets

ENCODES = {
    "h264": ("libx264", {}),
    "h264_bframes": ("libx264", {"bf": "3", "x264-params": "b-adapt=0:b-pyramid=normal"}),
    "mpeg4": ("mpeg4", {}),
    "mpeg4_bframes": ("mpeg4", {"bf": "2"}),
}
CONTAINERS = {
    "plain": {},
    "faststart": {"movflags": "faststart"},
    "no edit list": {"use_editlist": "0"},
    "negative offsets": {"movflags": "negative_cts_offsets"},
}


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("coding", ENCODES)
def test_a_sample_table_tells_the_packets(tmp_path: Path, passes: Pass, coding: str, container: str) -> None:
    codec, options = ENCODES[coding]
    path = encode(
        tmp_path / "a.mp4", (64, 48), codec=codec, options=options, container_options=CONTAINERS[container]
    )
    assert passes.same(path)


@pytest.mark.parametrize("coding", ENCODES)
def test_a_sample_table_tells_the_packets_of_edited_tracks(tmp_path: Path, passes: Pass, coding: str) -> None:
    """The muxer writes edit lists that hide the first frames, or that delay them."""
    codec, options = ENCODES[coding]
    path = encode(tmp_path / "a.mp4", (64, 48), codec=codec, options=options)
    tick = 512  # of 12,800 per second
    cut = remux(path, tmp_path / "cut.mp4", lambda number: number >= 12, -17 * tick)
    assert b"elst" in cut.read_bytes()
    assert passes.same(cut)
    assert passes.same(remux(path, tmp_path / "late.mp4", shift=9 * tick))


def test_a_sample_table_tells_the_packets_of_two_tracks(tmp_path: Path, passes: Pass) -> None:
    """The chunks of a track have one sample each, and lie between those of the other one."""
    large = encode(tmp_path / "large.mp4", (96, 64), codec="libx264", options={"bf": "2"})
    small = encode(tmp_path / "small.mp4", (64, 48), codec="mpeg4")
    assert passes.same(two_tracks(large, small, tmp_path / "a.mp4"))
    assert passes.same(two_tracks(small, large, tmp_path / "b.mp4"))


def test_a_sample_table_tells_the_packets_of_one_size(tmp_path: Path, passes: Pass) -> None:
    def one_size(kind: bytes, content: bytes) -> tuple[bytes, bytes]:
        if kind != b"stsz":
            return kind, content
        (size,) = set(struct.unpack(f">{len(content) // 4 - 3}I", content[12:])) or {0}
        return kind, struct.pack(">III", 0, size, struct.unpack_from(">I", content, 8)[0])

    path = encode(tmp_path / "a.mp4", (64, 48), frames=1)
    assert passes.same(rewrite(path, one_size))


def test_a_sample_table_tells_the_packets_at_positions_of_64_bits(tmp_path: Path, passes: Pass) -> None:
    def wide(kind: bytes, content: bytes) -> tuple[bytes, bytes]:
        if kind != b"stco":
            return kind, content
        positions = struct.unpack(f">{len(content) // 4 - 2}I", content[8:])
        return b"co64", content[:8] + struct.pack(f">{len(positions)}Q", *positions)

    path = encode(tmp_path / "a.mp4", (64, 48), codec="libx264", options={"bf": "2"})
    assert passes.same(rewrite(path, wide))
    assert b"co64" in path.read_bytes()


@pytest.mark.parametrize("options", [{"movflags": "frag_keyframe"}, {"movflags": "frag_keyframe+empty_moov"}])
def test_the_packets_of_fragments_are_read(tmp_path: Path, passes: Pass, options: dict[str, str]) -> None:
    path = encode(tmp_path / "a.mp4", (64, 48), codec="libx264", container_options=options)
    assert not passes.same(path)
    with CompressedVideoReader(path) as video:
        assert video.info.num_frames == 30


def test_the_packets_of_a_file_that_is_cut_short_are_read(tmp_path: Path, passes: Pass) -> None:
    path = encode(tmp_path / "a.mp4", container_options={"movflags": "faststart"})
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 3 // 4])
    assert not passes.same(path)


def test_the_packets_of_a_track_with_several_edits_are_read(tmp_path: Path, passes: Pass) -> None:
    """They show the second half of the video before the first one: offsets are not in the file's order."""
    offsets = [1024] * 45
    offsets[12:14] = 1536, 512

    def swap(kind: bytes, content: bytes) -> tuple[bytes, bytes]:
        if kind == b"ctts":
            content = struct.pack(">II", 0, len(offsets)) + b"".join(
                struct.pack(">Ii", 1, offset) for offset in offsets
            )
        elif kind == b"elst":
            halves = [struct.pack(">IiI", 600, 1024 + 512 * first, 1 << 16) for first in (15, 0)]
            content = struct.pack(">II", 0, 2) + b"".join(halves)
        return kind, content

    path = encode(
        tmp_path / "a.mp4", (64, 48), codec="libx264", gop=15, options={"bf": "2", "sc_threshold": "0"}
    )
    assert not passes.same(rewrite(path, swap))


def test_the_packets_of_frames_without_durations_are_read(tmp_path: Path, passes: Pass) -> None:
    """FFmpeg replaces their times."""

    def stop(kind: bytes, content: bytes) -> tuple[bytes, bytes]:
        return kind, struct.pack(">IIII", 0, 1, 30, 0) if kind == b"stts" else content

    path = encode(tmp_path / "a.mp4", (64, 48))
    assert not passes.same(rewrite(path, stop))


def test_the_packets_of_frames_shown_before_they_are_decoded_are_read(tmp_path: Path, passes: Pass) -> None:
    """FFmpeg replaces their decoding times."""

    def early(kind: bytes, content: bytes) -> tuple[bytes, bytes]:
        if kind == b"stss":  # the table of keyframes makes room
            return b"ctts", struct.pack(">IIIiIi", 0, 2, 28, 0, 2, -2048)
        return kind, content

    path = encode(tmp_path / "a.mp4", (64, 48))
    assert not passes.same(rewrite(path, early))


@pytest.mark.parametrize(
    ("runs", "samples", "offset"),
    [(1, 29, 0), (1, 31, 0), (1, 2**32 - 1, 0), (2**32 - 1, 30, 0), (1, 30, 1 << 29), (0, 30, 0)],
)
def test_offsets_of_other_samples_are_not_taken(runs: int, samples: int, offset: int) -> None:
    assert offsets_of(struct.pack(">IIIi", 0, runs, samples, offset), 30) is None


def test_offsets_are_those_of_the_runs() -> None:
    assert offsets_of(struct.pack(">IIIiIiIi", 0, 3, 2, 512, 1, -7, 3, 0), 6) == [512, 512, -7, 0, 0, 0]


@pytest.mark.parametrize("descriptions", [(b"encv",), (b"mp4v", b"mp4v")])
def test_offsets_of_encrypted_samples_or_of_several_kinds_are_not_taken(
    descriptions: tuple[bytes, ...],
) -> None:
    table = struct.pack(">IIIi", 0, 1, 30, 0)
    assert offsets_of(table, 30) == [0] * 30
    assert offsets_of(table, 30, descriptions) is None


def offsets_of(table: bytes, samples: int, descriptions: tuple[bytes, ...] = (b"mp4v",)) -> list[int] | None:
    """The offsets of a track with a composition table, and nothing else of interest."""

    def box(kind: bytes, *content: bytes) -> bytes:
        data = b"".join(content)
        return struct.pack(">I4s", 8 + len(data), kind) + data

    entries = (box(kind, bytes(78)) for kind in descriptions)
    description = box(b"stsd", struct.pack(">II", 0, len(descriptions)), *entries)
    header = box(b"tkhd", bytes(12), struct.pack(">I", 7), bytes(68))
    media = box(b"mdia", box(b"minf", box(b"stbl", description, box(b"ctts", table))))
    file = box(b"moov", box(b"trak", header, media))
    found = composition_offsets(lambda place, size: file[place : place + size], len(file), 7, samples)
    return None if found is None else found.tolist()


def test_damaged_tables_of_another_track_leave_the_video_whole(tmp_path: Path, passes: Pass) -> None:
    first = encode(tmp_path / "first.mp4", (96, 64), frames=75, codec="libx264")
    second = encode(tmp_path / "second.mp4", (64, 48), frames=75)
    path = two_tracks(first, second, tmp_path / "a.mp4")
    tracks = iter((False, True))

    def lose(kind: bytes, content: bytes) -> tuple[bytes, bytes]:
        if kind == b"stco" and next(tracks):
            return kind, content[:48] + b"\x7f" + content[49:]
        return kind, content

    assert passes.same(rewrite(path, lose))
    with CompressedVideoReader(path) as video:
        assert video.info.num_frames == 75
