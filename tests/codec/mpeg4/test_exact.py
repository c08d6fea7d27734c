"""Vectors, types and rebuilt samples are FFmpeg's, over whole GOPs, as mpeg4_oracle compares them."""

import re
from collections.abc import Callable
from pathlib import Path

import av
import pytest
from helpers.encoders import encode
from helpers.mpeg4_oracle import compare
from helpers.real_clips import HOCKEY

from cvr_lightning.codec import BlockMode, CompressedVideoReader
from cvr_lightning.codec.mpeg4 import headers

FINE = {"qmin": "1", "qmax": "3"}
TOOLS = {
    "plain": {},
    "four vectors": {"flags": "+mv4", "mbd": "rd"},
    "quarter sample": {"flags": "+qpel"},
    "quarter sample, four vectors": {"flags": "+qpel+mv4", "mbd": "rd"},
    "MPEG quantization": {"mpeg_quant": "1"},
    "MPEG quantization, fine": {"mpeg_quant": "1", **FINE},
    "AC prediction": {"flags": "+aic", "mbd": "rd"},
    "AC prediction, fine": {"flags": "+aic", "mbd": "rd", **FINE},
    "intra DC without its own code": {"flags": "+aic", "qmin": "24", "qmax": "31"},
    "B-frames": {"bf": "2"},
    "B-frames, everything": {"bf": "2", "flags": "+qpel+mv4+aic", "mbd": "rd", "mpeg_quant": "1"},
    "quantizer 1": {"qmin": "1", "qmax": "1"},
    "quantizer 31": {"qmin": "31", "qmax": "31"},
    "quantizer changes": {"qmin": "2", "qmax": "31", "lumi_mask": "0.5", "mpv_flags": "+qp_rd", "mbd": "rd"},
    "video packets": {"ps": "100"},
    "video packets, everything": {"ps": "120", "bf": "2", "flags": "+qpel+mv4+aic", "mbd": "rd", **FINE},
}
SIZES = [(176, 144), (130, 34), (16, 16), (18, 2)]
REAL = {
    "divx_4x4.avi": 20,
    "dx50_bframes.avi": 48,
    "mpeg4_720p.mp4": 13,
    "v_BaseballPitch_g01_c03.avi": 50,
    "v_Biking_g01_c01.avi": 50,
    "v_TaiChi_g01_c02.avi": 50,
    "xvid_320x268.avi": 29,
    "xvid_354x226.avi": 29,
    "xvid_448x132.avi": 29,
    "xvid_asp_packed_bframes.avi": 50,
    "xvid_single_iframe.avi": 50,
}


def assert_exact(path: str | Path, frames: int) -> None:
    report = compare(str(path), frames)
    assert report["frames"] > 0
    assert report["vectors"] > 0
    assert report["wrong_vectors"] == report["wrong_intra"] == report["impure"] == 0
    assert report["error"] == 0


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("tool", TOOLS)
def test_encodes_with_every_tool_are_exact(tmp_path: Path, tool: str, size: tuple[int, int]) -> None:
    path = encode(tmp_path / "clip.avi", size, frames=14, options=TOOLS[tool])
    assert_exact(path, 14)
    with CompressedVideoReader(path) as video:
        assert video.parser == "mpeg4"
        vol = headers.find_vol(video.index.sequence_headers[0])
        assert vol is not None
        assert vol.quarter_sample == (tool.startswith("quarter") or "everything" in tool)
        assert (vol.matrices is not None) == ("MPEG" in tool or tool == "B-frames, everything")
        types = video.info.frame_types
        assert ("B" in types) == ("B-frames" in tool or "everything" in tool)
        if size == (176, 144):  # byte-aligned zeros are the beginning of a resync marker
            start, length = int(video.index.data_positions[1]), int(video.index.sizes[1])
            markers = path.read_bytes()[start + 4 : start + length].count(b"\0\0")
            assert markers > 3 or "packets" not in tool
        if size == (176, 144) and "four" in tool:
            modes = [video.parse(n).modes for n in range(14) if types[n] == "P"]
            assert any((grid == BlockMode.INTER4V).any() for grid in modes)


def with_matrices(stream: bytes) -> bytes:
    """A raw stream whose VOL headers load matrices of their own, of 64 values and of 20.

    The headers are those of FFmpeg's encoder for a stream without quarter samples and B-frames: behind
    quant_type follow load_intra_quant_mat, load_nonintra_quant_mat, four flags, and stuffing.
    """
    intra = [8, *range(20, 83)]
    inter = [*range(16, 36), 0]
    loaded = "".join("1" + "".join(f"{value:08b}" for value in values) for values in (intra, inter))

    def rewrite(match: re.Match[bytes]) -> bytes:
        bits = "".join(f"{byte:08b}" for byte in match[0])
        bits = bits[: bits.rindex("0")]
        bits = bits[:-6] + loaded + bits[-4:] + "0"
        bits += "1" * (-len(bits) % 8)
        return int(bits, 2).to_bytes(len(bits) // 8, "big")

    return re.sub(rb"\x00\x00\x01\x20.*?(?=\x00\x00\x01)", rewrite, stream, flags=re.DOTALL)


def raw_stream(path: Path) -> bytes:
    """The elementary stream of a file."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        packets = [bytes(packet) for packet in container.demux(stream)]
        return (stream.codec_context.extradata or b"") + b"".join(packets)


def test_a_raw_stream_is_exact(tmp_path: Path) -> None:
    options = {"bf": "2", "flags": "+mv4", "mbd": "rd"}
    path = tmp_path / "clip.m4v"
    path.write_bytes(raw_stream(encode(tmp_path / "clip.mp4", (96, 64), frames=26, options=options)))
    assert_exact(path, 26)
    with CompressedVideoReader(path) as video:
        assert (video.index.data_positions >= 0).all()
        assert video.read(video.segments(3, 2)).iframes.any()


def test_matrices_in_the_stream_are_used(tmp_path: Path) -> None:
    encoded = encode(tmp_path / "clip.mp4", (64, 48), frames=14, options={"mpeg_quant": "1", **FINE})
    path = tmp_path / "clip.m4v"
    path.write_bytes(with_matrices(raw_stream(encoded)))
    with CompressedVideoReader(path) as video:
        vol = headers.find_vol(video.index.sequence_headers[0])
        assert vol is not None
        assert vol.matrices == ((8, *range(20, 83)), (*range(16, 36), *44 * [35]))
        assert not vol.unread
    assert_exact(path, 14)


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "mov"])
def test_frames_in_every_container_are_exact(tmp_path: Path, suffix: str) -> None:
    path = encode(tmp_path / f"clip.{suffix}", (96, 64), frames=26, options={"bf": "2"})
    assert_exact(path, 26)
    with CompressedVideoReader(path) as video:
        assert (video.index.data_positions >= 0).all()


@pytest.mark.parametrize("name", REAL)
def test_real_clips_are_exact(clip: Callable[[str], str], name: str) -> None:
    assert_exact(clip(name), REAL[name])


def test_xvid_clips_are_exact() -> None:
    paths = sorted(HOCKEY.rglob("*.avi"))
    if not paths:
        pytest.skip(f"no clips in {HOCKEY}")
    for path in paths:
        assert_exact(path, 4)
