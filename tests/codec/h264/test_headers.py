"""What is refused by name, sizes that are bounded, order and references."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from helpers.encoders import encode

from cvr_lightning.codec import CompressedVideoReader
from cvr_lightning.codec.errors import UnreadableVideoError, UnsupportedStreamError
from cvr_lightning.codec.h264 import tables
from cvr_lightning.codec.h264.header_scan import HeaderScan
from cvr_lightning.codec.h264.parameter_sets import BadParameterSetError, read_sequence
from cvr_lightning.codec.h264.parameters import ParameterSets
from cvr_lightning.codec.h264.pictures import C_KIND, C_LISTS, NO_PICTURE


@pytest.mark.parametrize(
    ("pix_fmt", "options", "cause"),
    [
        ("yuv422p", {}, "4:2:2"),
        ("yuv444p", {}, "4:4:4"),
        ("yuv420p10le", {}, "10 bits"),
        ("yuv420p", {"flags": "+ildct+ilme"}, "field tools"),
        ("yuv420p", {"qp": "0"}, "lossless"),
    ],
)
def test_unread_tools_are_named(tmp_path: Path, pix_fmt: str, options: dict[str, str], cause: str) -> None:
    path = encode(tmp_path / "clip.mp4", frames=6, codec="libx264", options=options, pix_fmt=pix_fmt)
    with CompressedVideoReader(path) as video:
        assert video.parser == "ffmpeg"
        assert cause in video.reason
        assert video.info.frame_types.startswith("I")
    with pytest.raises(UnsupportedStreamError, match=cause):
        CompressedVideoReader(path, parser="h264")


@pytest.mark.parametrize(
    ("name", "cause"),
    [
        ("conformance/mbaff_iframe_128x96.h264", "field tools"),
        ("jcodec/seq_boxout_test.264", "slice groups"),
        ("jcodec/seq_raster_test.264", "slice groups"),
        ("phones/cockatoo_444.mp4", "4:4:4"),
    ],
)
def test_unread_streams_are_named(h264_streams: Callable[[str], Path], name: str, cause: str) -> None:
    folder, file = name.split("/")
    path = h264_streams(folder) / file
    with pytest.raises((UnsupportedStreamError, UnreadableVideoError), match=cause):
        CompressedVideoReader(path, parser="h264")


class Bits:
    """A string of bits in the making."""

    def __init__(self) -> None:
        self.text = ""

    def fixed(self, value: int, count: int) -> None:
        self.text += f"{value:0{count}b}"

    def unsigned(self, *values: int) -> None:
        for value in values:
            digits = f"{value + 1:b}"
            self.text += "0" * (len(digits) - 1) + digits

    def payload(self) -> bytes:
        text = self.text + "1"
        text += "0" * (-len(text) % 8)
        return int(text, 2).to_bytes(len(text) // 8, "big")


def sequence_of(columns: int, rows: int) -> bytes:
    bits = Bits()
    bits.fixed(66, 8)
    bits.fixed(30, 16)
    bits.unsigned(0, 0, 2, 1)  # number, log2_max_frame_num, order type, references
    bits.fixed(0, 1)
    bits.unsigned(columns - 1, rows - 1)
    bits.fixed(0b1100, 4)  # progressive, direct_8x8, no crop, no VUI
    return bits.payload()


def test_a_declared_size_is_bounded() -> None:
    assert read_sequence(sequence_of(22, 18)).columns == 22
    with pytest.raises(BadParameterSetError, match="number of macroblocks"):
        read_sequence(sequence_of(4096, 4096))
    with pytest.raises(BadParameterSetError, match="cut short"):
        read_sequence(sequence_of(22, 18)[:4])


def test_changes_of_one_set_under_many_others_are_bounded() -> None:
    """A file of 20 kB would otherwise take a gigabyte."""
    sets = ParameterSets()
    for number in range(256):
        bits = Bits()
        bits.unsigned(number, 0)
        bits.fixed(0b00_111_000_111_000, 14)  # CAVLC, one slice group, one reference, no weights
        sets.add(b"\x68" + bits.payload())
    for change in range(1, 100):
        sets.add(b"\x67" + sequence_of(22, 18) + bytes([change]))
    assert 1024 <= len(sets.pairs) <= 1024 + 256


def test_references_reach_back_as_far_as_they_are_coded(tmp_path: Path) -> None:
    options = {"x264-params": "bframes=2:b-adapt=0:ref=1:weightp=0:keyint=30:scenecut=0"}
    path = encode(tmp_path / "clip.mp4", frames=13, codec="libx264", options=options)
    with CompressedVideoReader(path) as video:
        assert video.info.frame_types == "I" + 4 * "BBP"
        assert video.index.lists_of(3).tolist()[:3] == [1, 0, 3]
        assert video.index.lists_of(1).tolist()[:6] == [1, 1, 1, -2, 2 * 2, 2 * -4]


def test_the_index_keeps_references(tmp_path: Path) -> None:
    path = encode(tmp_path / "clip.mkv", frames=20, codec="libx264", options={"x264-params": "slices=2"})
    with CompressedVideoReader(path) as video:
        index = video.index
        again = type(index).from_bytes(index.to_bytes())
        np.testing.assert_array_equal(again.reference_lists, index.reference_lists)
        clip = video.read(video.segments(2, 2))
    with CompressedVideoReader(path, index=again) as video:
        np.testing.assert_array_equal(video.read(video.segments(2, 2)).motion, clip.motion)


def test_packets_without_a_picture_are_passed_over() -> None:
    scan = HeaderScan(b"")
    packets = (b"", b"\0\0\1", b"\0\0\1\x09\x10", b"\0\0\1\x41\xff", b"\xff" * 40, b"\0" * 40)
    sizes = np.array([len(packet) for packet in packets])
    begins = np.cumsum(sizes) - sizes
    scan.scan(np.frombuffer(b"".join(packets), np.uint8), begins, begins + sizes)
    rows, _ = scan.finish()
    assert rows[:, C_KIND].tolist() == 6 * [NO_PICTURE]
    assert rows[:, C_LISTS].tolist() == 6 * [0]


def test_damaged_tables_are_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "_DIGEST", "0")
    with pytest.raises(ImportError, match="damaged"):
        tables._load()
