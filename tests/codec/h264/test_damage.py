"""Damaged packets are refused with their place, and never half-read."""

from pathlib import Path

import numpy as np
import pytest
from helpers import fuzz, h264_fuzz
from helpers.encoders import encode

from cvr_lightning.codec import CompressedVideoReader
from cvr_lightning.codec.errors import BitstreamError, VideoError
from cvr_lightning.codec.h264.macroblocks import Coded, DamagedPictureError, Macroblocks, read_macroblocks
from cvr_lightning.codec.h264.parser import H264Parser

CODINGS = {"CABAC": "cabac=1:threads=1:slices=2", "CAVLC": "cabac=0:8x8dct=1:threads=1:slices=2"}


@pytest.fixture(params=CODINGS)
def coding(request: pytest.FixtureRequest) -> str:
    return CODINGS[request.param]


@pytest.fixture
def clip(tmp_path: Path, coding: str) -> Path:
    params = f"{coding}:bframes=0:qp=24:keyint=12"
    return encode(tmp_path / "clip.mp4", (96, 64), 12, "libx264", options={"x264-params": params})


def parser_of(video: CompressedVideoReader) -> H264Parser:
    parser = video._parser
    assert isinstance(parser, H264Parser)
    return parser


def units_of(coded: Coded) -> list[bytes]:
    """The NAL units of a packet with their length prefixes."""
    out, place = [], 0
    while place < len(coded.data):
        size = 4 + int.from_bytes(coded.data[place : place + 4], "big")
        out.append(coded.data[place : place + size])
        place += size
    return out


def test_damage_is_named_by_frame_macroblock_and_bit(clip: Path) -> None:
    with CompressedVideoReader(clip) as video:
        index = video.index
        after = video.parse(6)
    frame = 5
    place, size = (int(column[index.frame_sources[frame]]) for column in (index.data_positions, index.sizes))
    data = bytearray(clip.read_bytes())
    data[place + size - 40 : place + size] = bytes(40)
    clip.write_bytes(data)
    with CompressedVideoReader(clip, index=index) as video:
        with pytest.raises(BitstreamError) as caught:
            video.parse(frame)
        error = caught.value
        assert (error.file, error.frame) == (str(clip), frame)
        assert error.macroblock is not None
        assert 0 < error.macroblock <= 24
        assert error.bit is not None
        assert 8 * (size - 60) < error.bit <= 8 * size + 64
        with pytest.raises(BitstreamError):
            video.read([video.segments(1, 11)[0]])
        sound = video.parse(6)
    assert isinstance(after, Macroblocks)
    assert isinstance(sound, Macroblocks)
    np.testing.assert_array_equal(sound.coefficients, after.coefficients)


def test_every_truncation_is_refused(clip: Path) -> None:
    with CompressedVideoReader(clip) as video:
        parser = parser_of(video)
        for frame in (0, 1, 5):
            coded = parser._coded(frame)
            *front, last = units_of(coded)
            for length in range(1, len(last) - 4):
                unit = length.to_bytes(4, "big") + last[4 : 4 + length]
                cut = coded._replace(data=b"".join(front) + unit)
                with pytest.raises(DamagedPictureError):
                    read_macroblocks(cut, parser._stream, parser._shape, frame, "P")


@pytest.mark.parametrize("direct", ["spatial", "temporal"])
def test_every_truncation_of_a_b_frame_is_refused(tmp_path: Path, coding: str, direct: str) -> None:
    params = f"{coding}:bframes=2:b-adapt=0:direct={direct}:qp=24:keyint=12"
    path = encode(tmp_path / "clip.mp4", (96, 64), 12, "libx264", options={"x264-params": params})
    with CompressedVideoReader(path) as video:
        parser = parser_of(video)
        frame = video.info.frame_types.index("B")
        coded = parser._coded(frame)
        *front, last = units_of(coded)
        for length in range(1, len(last) - 4):
            unit = length.to_bytes(4, "big") + last[4 : 4 + length]
            cut = coded._replace(data=b"".join(front) + unit)
            with pytest.raises(DamagedPictureError):
                read_macroblocks(cut, parser._stream, parser._shape, frame, "B")


def test_damage_to_a_colocated_picture_is_told(tmp_path: Path) -> None:
    params = "bframes=2:b-adapt=0:b-pyramid=none:qp=24:keyint=12"
    path = encode(tmp_path / "clip.mp4", (96, 64), 12, "libx264", options={"x264-params": params})
    with CompressedVideoReader(path) as video:
        index = video.index
    later = index.frame_types.index("P")
    assert index.frame_types[later - 1] == "B"
    place, size = (int(column[index.frame_sources[later]]) for column in (index.data_positions, index.sizes))
    data = bytearray(path.read_bytes())
    data[place + size - 30 : place + size] = bytes(30)
    path.write_bytes(data)
    with CompressedVideoReader(path, index=index) as video, pytest.raises(BitstreamError) as caught:
        video.parse(later - 1)
    assert caught.value.frame == later


def test_a_lost_slice_is_an_error(clip: Path) -> None:
    with CompressedVideoReader(clip) as video:
        parser = parser_of(video)
        coded = parser._coded(5)
        *front, last = units_of(coded)
        for lost in (b"".join(front), b"".join(front[:-1]) + last):
            with pytest.raises(DamagedPictureError, match="no slice covers") as caught:
                read_macroblocks(coded._replace(data=lost), parser._stream, parser._shape, 5, "P")
            assert caught.value.macroblock in (0, 12)
        with pytest.raises(DamagedPictureError, match=r"two slices cover|length of a NAL unit"):
            read_macroblocks(coded._replace(data=coded.data + last), parser._stream, parser._shape, 5, "P")


def test_a_missing_reference_is_an_error(clip: Path) -> None:
    with CompressedVideoReader(clip) as video:
        parser = parser_of(video)
        coded = parser._coded(5)
        lists = [item._replace(distances=np.zeros_like(item.distances)) for item in coded.lists]
        with pytest.raises(DamagedPictureError, match="not in the stream"):
            read_macroblocks(coded._replace(lists=lists), parser._stream, parser._shape, 5, "P")


def test_a_damaged_iframe_is_refused(clip: Path) -> None:
    with CompressedVideoReader(clip) as video:
        index = video.index
    place, size = int(index.data_positions[0]), int(index.sizes[0])
    data = bytearray(clip.read_bytes())
    data[place + size - 30 : place + size] = bytes(30)
    clip.write_bytes(data)
    with CompressedVideoReader(clip, index=index) as video, pytest.raises(VideoError, match="frame 0"):
        video.read(video.segments(1, 1), modalities=("iframes",))


def test_a_b_slice_without_the_picture_that_it_refers_to_is_refused(tmp_path: Path) -> None:
    options = {"x264-params": "bframes=2:b-adapt=0"}
    path = encode(tmp_path / "clip.mp4", (96, 64), 6, "libx264", options=options)
    with CompressedVideoReader(path) as video:
        parser, frame = parser_of(video), video.info.frame_types.index("B")
        coded = parser._coded(frame)._replace(colocated=None)
        with pytest.raises(DamagedPictureError, match="predicted from a picture that is not in the stream"):
            read_macroblocks(coded, parser._stream, (4, 6), frame, "B")


def test_mutated_packets_never_crash(tmp_path: Path) -> None:
    results = fuzz.run(h264_fuzz.fuzzer(tmp_path), 200, 1)
    assert results["cut refused"] > 0
    assert sum(results.values()) == 200
