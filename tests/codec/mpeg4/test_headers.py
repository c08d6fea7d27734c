"""Coding tools that a VOL header announces: those that the parser does not read are known by name."""

import logging
from pathlib import Path

import numpy as np
import pytest
from helpers.global_motion import SPRITE, encode_global_motion, packed

from cvr_lightning.codec import CompressedVideoReader
from cvr_lightning.codec.errors import UnsupportedStreamError
from cvr_lightning.codec.mpeg4.headers import find_vol, parse_vol
from cvr_lightning.codec.mpeg4.parser import unread_tool


def vol_header(
    kind: int = 1,
    shape: int = 0,
    interlaced: bool = False,
    overlapped: bool = False,
    sprite: int = 0,
    ten_bit: bool = False,
    complexity: bool = False,
    partitioned: bool = False,
    newpred: bool = False,
    reduced: bool = False,
    scalable: bool = False,
) -> bytes:
    """A VOL header of version 2 as 6.2.3 spells it, 352x288 at 25 ticks a second."""
    bits = f"{0x120:032b}" + "0" + f"{kind:08b}" + "1" + "0010" + "001" + "0001" + "0"
    bits += f"{shape:02b}" + "1" + f"{25:016b}" + "1" + "0"
    if shape == 0:
        bits += "1" + f"{352:013b}" + "1" + f"{288:013b}" + "1"
    bits += f"{interlaced:b}" + f"{not overlapped:b}" + SPRITE.get(sprite, "00")
    bits += "1" + "0101" + "1010" if ten_bit else "0"
    bits += "0" + "0"  # H.263 quantization, half samples
    bits += f"{not complexity:b}" + "1" + ("11" if partitioned else "0")
    bits += "1" + "000" if newpred else "0"
    return packed(bits + f"{reduced:b}" + f"{scalable:b}")


def test_a_plain_layer_is_read() -> None:
    vol = parse_vol(vol_header())
    assert (vol.width, vol.height, vol.resolution, vol.time_bits) == (352, 288, 25, 5)
    assert (vol.packets, vol.quarter_sample, vol.matrices) == (False, False, None)
    assert unread_tool(vol) == ""


@pytest.mark.parametrize(
    ("tool", "cause"),
    [
        ({"kind": 14}, "a studio profile"),
        ({"shape": 1}, "shaped objects"),
        ({"interlaced": True}, "interlaced coding: vectors may refer to fields"),
        ({"overlapped": True}, "overlapped block motion compensation"),
        ({"sprite": 1}, "sprites or global motion compensation"),
        ({"sprite": 2}, "sprites or global motion compensation"),
        ({"ten_bit": True}, "samples of other than 8 bits"),
        ({"complexity": True}, "complexity estimation"),
        ({"partitioned": True}, "data partitioning"),
        ({"newpred": True}, "NEWPRED"),
        ({"reduced": True}, "VOPs of reduced resolution"),
        ({"scalable": True}, "scalability"),
        ({"sprite": 2, "partitioned": True, "scalable": True}, "scalability"),
    ],
    ids=str,
)
def test_unsupported_tools_are_named(tool: dict[str, int], cause: str) -> None:
    vol = parse_vol(vol_header(**tool))  # type: ignore[arg-type]
    assert unread_tool(vol) == cause


def test_every_truncation_of_a_header_is_an_error() -> None:
    header = vol_header(ten_bit=True)
    for length in range(5, len(header) - 1):
        with pytest.raises(EOFError):
            parse_vol(header[:length])
    assert find_vol(header[:10]) is None


def test_streams_with_global_motion_are_read_through_ffmpeg(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path, source = encode_global_motion(tmp_path / "clip.m4v")
    with CompressedVideoReader(source) as video:
        assert video.parser == "mpeg4"
        segments = video.segments(3, 2)
        expected = video.read(segments, modalities=("iframes",))
    with caplog.at_level(logging.INFO, "cvr_lightning"), CompressedVideoReader(path) as video:
        assert video.parser == "ffmpeg"
        assert "sprites or global motion compensation" in video.reason
        actual = video.read(segments, modalities=("iframes",))
        with pytest.raises(UnsupportedStreamError, match="sprites or global motion compensation"):
            video.read(segments)
    np.testing.assert_array_equal(actual.iframes, expected.iframes)
    (record,) = caplog.records
    assert "sprites or global motion compensation" in record.getMessage()
