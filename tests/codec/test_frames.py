"""Frames are those of a full decode: their count, order, types and pictures; or they are refused by name."""

import logging
import struct
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.sidedata.sidedata import Type
from helpers.encoders import SINGLE_REFERENCE, encode, scene
from helpers.frame_oracle import disagreements, shown
from helpers.real_clips import REAL_CLIPS
from helpers.remux import remux

from cvr_lightning.codec import CompressedVideoReader, Segment
from cvr_lightning.codec.choice import ParserName
from cvr_lightning.codec.container.packets import open_packets
from cvr_lightning.codec.errors import (
    BitstreamError,
    UnreadableVideoError,
    UnsupportedStreamError,
    VideoError,
)
from cvr_lightning.codec.mpeg4.headers import parse_vol
from cvr_lightning.codec.side_data import side_data
from cvr_lightning.codec.stream import CompressedStream

VOL_START = b"\x00\x00\x01\x20"
ALT_REF = {"auto-alt-ref": "1", "lag-in-frames": "8", "deadline": "good", "cpu-used": "6"}
X265 = {"x265-params": "open-gop=1:bframes=3:log-level=none"}
OPEN_X264 = {"bf": "3", "x264-params": "open-gop=1"}
STREAMS: dict[str, dict[str, Any]] = {
    "field_tools.mp4": {"codec": "libx264", "options": {"bf": "3", "x264-params": "interlaced=1"}},
    "pyramid.mkv": {"codec": "libx264", "options": {"bf": "3", "x264-params": "b-pyramid=strict:ref=4"}},
    "intra_refresh.mkv": {"codec": "libx264", "options": {"x264-params": "intra-refresh=1"}},
    "ten_bits.mov": {"codec": "libx264", "pix_fmt": "yuv420p10le"},
    "full_range.mov": {"codec": "libx264", "pix_fmt": "yuvj420p"},
    "gray.mkv": {"codec": "libx264", "pix_fmt": "gray"},
    "no_times.avi": {"codec": "libx264", "options": {"bf": "2"}},
    "no_times.h264": {"codec": "libx264", "options": {"bf": "3"}},
    "no_times.hevc": {"codec": "libx265", "options": X265},
    "open.ts": {"codec": "libx264", "options": OPEN_X264},
    "open.mp4": {"codec": "libx265", "options": X265},
    "alt_ref.webm": {"codec": "libvpx", "options": ALT_REF},
    "alt_ref.mp4": {"codec": "libvpx-vp9", "options": ALT_REF},
    "superframes.ivf": {"codec": "libvpx-vp9", "options": ALT_REF},
    "hidden.mkv": {"codec": "libsvtav1", "options": {"preset": "12"}},
    "interlaced.mpg": {"codec": "mpeg2video", "options": {"flags": "+ilme+ildct"}},
    "bframes.mpg": {"codec": "mpeg2video", "options": {"bf": "2"}},
    "flags_of_the_container.avi": {"codec": "msmpeg4"},
    "flags_of_the_container.wmv": {"codec": "wmv2"},
    "flags_of_the_container.3gp": {"codec": "h263", "size": (176, 144)},
    "long_gop.mkv": {"codec": "ffv1", "options": {"level": "1", "coder": "1"}},
    "long_gop.avi": {"codec": "snow"},
    "long_gop.mov": {"codec": "svq1", "pix_fmt": "yuv410p"},
    "palette.gif": {"codec": "gif", "pix_fmt": "rgb8"},
    "bottom_up.avi": {"codec": "rawvideo", "pix_fmt": "bgr24"},
    "gray.mov": {"codec": "png", "pix_fmt": "gray"},
    "subsampling.mkv": {"codec": "mjpeg", "pix_fmt": "yuvj422p"},
    "keyframes.avi": {"codec": "cinepak", "pix_fmt": "rgb24"},
    "raw.m4v": {"codec": "mpeg4", "options": {"bf": "1"}},
}


def small(path: Path, **options: Any) -> Path:
    return encode(path, **{"size": (96, 64), "frames": 20, "gop": 8, **options})


@pytest.mark.parametrize("name", STREAMS)
def test_all_frames_are_those_of_a_full_decode(name: str, tmp_path: Path) -> None:
    assert disagreements(small(tmp_path / name, **STREAMS[name])) == []


SAMPLES = {
    "cut_base_h264.mp4": "",
    "cut_base_mpeg4_long.mp4": "",
    "exif_mjpeg.mov": "",
    "frag_overlap.mp4": "",
    "h264_4bf_pyramid_nobsrestriction.mp4": "",
    "h264_open.mp4": "",
    "hevc_loewe.ts": "",
    "m_bt709.mp4": "",
    "moviedispmat.mp4": "displayed mirrored",
    "mpeg2_t.mpg": "frame 68: no decoding from an earlier I-frame gives it",
    "noidx_o_msmpeg4.avi": "",
    "o_h263.avi": "",
    "o_mpeg2_ilme.mpg": "",
    "paff_sony_a7m3.mts": "",
    "vp8_altref.webm": "",
    "vp90-2-10-show-existing-frame.mp4": "",
}
"""Files that were read wrongly once, and what is refused of them."""


@pytest.mark.parametrize("name", SAMPLES)
def test_real_files_give_the_frames_of_a_full_decode(name: str) -> None:
    path = REAL_CLIPS / "defects" / name
    if not path.is_file():
        pytest.skip(f"no real clip {name}: CVR_TEST_CLIPS names no folder that holds it")
    found = disagreements(path)
    assert all(text.startswith("- ") and SAMPLES[name] in text for text in found), found
    assert bool(found) == bool(SAMPLES[name])


@pytest.mark.parametrize("suffix", ["avi", "mkv", "mp4"])
@pytest.mark.parametrize("codec", ["mpeg4", "msmpeg4"])
def test_frames_before_the_first_iframe_are_counted_and_refused(
    codec: str, suffix: str, tmp_path: Path
) -> None:
    if (codec, suffix) == ("msmpeg4", "mp4"):
        pytest.skip("MP4 does not hold msmpeg4")
    whole = small(tmp_path / "whole.mkv", codec=codec)
    path = remux(whole, tmp_path / f"cut.{suffix}", lambda number: number >= 3)
    found = disagreements(path)
    assert len(found) == 5, found
    assert all("is damaged, or what it is predicted from is missing" in text for text in found)
    with CompressedVideoReader(path) as video:
        assert video.info.frame_types == "PPPPPIPPPPPPPIPPP"
        assert video.segments(1, 3)[0].iframe >= 5


@pytest.mark.parametrize(
    ("codec", "options"), [("libx264", OPEN_X264), ("libx265", X265), ("libvpx-vp9", ALT_REF)]
)
@pytest.mark.parametrize("suffix", ["mkv", "mp4"])
def test_a_stream_cut_in_the_middle_begins_where_a_player_begins(
    codec: str, options: dict[str, str], suffix: str, tmp_path: Path
) -> None:
    whole = small(tmp_path / "whole.mkv", codec=codec, options=options)
    path = remux(whole, tmp_path / f"cut.{suffix}", lambda number: number >= 3)
    assert disagreements(path) == []
    with CompressedVideoReader(path) as video:
        assert 0 < video.info.num_frames < 17


@pytest.mark.parametrize("codec", ["mpeg4", "libx264", "libx265", "libvpx-vp9"])
@pytest.mark.parametrize("shift", [-520, -200, 300])
def test_edit_lists_hide_frames_that_decoding_begins_at(codec: str, shift: int, tmp_path: Path) -> None:
    options = X265 if codec == "libx265" else {"bf": "2"} if codec == "libx264" else {}
    whole = small(tmp_path / "whole.mkv", codec=codec, options=options)
    path = remux(whole, tmp_path / "edited.mp4", shift=shift)
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    hidden = sum(packet.is_discard for packet in packets)
    assert bool(hidden) == (shift < 0)
    assert disagreements(path) == []
    with CompressedVideoReader(path) as video:
        assert video.info.num_frames == len(packets) - hidden


@pytest.mark.parametrize(("codec", "parser"), [("mpeg4", "auto"), ("mpeg4", "ffmpeg"), ("libx264", "auto")])
def test_residuals_behind_hidden_frames_are_those_of_the_whole_video(
    codec: str, parser: ParserName, tmp_path: Path
) -> None:
    options = SINGLE_REFERENCE if codec == "libx264" else {}
    whole = small(tmp_path / "whole.mkv", codec=codec, options=options, gop=20)
    edited = remux(whole, tmp_path / "edited.mp4", shift=-200)  # 5 frames, the I-frame among them
    later = remux(whole, tmp_path / "later.mp4", shift=0)
    with (
        CompressedVideoReader(edited, parser=parser) as video,
        CompressedVideoReader(later, parser=parser) as other,
    ):
        assert video.info.frame_types == other.info.frame_types[5:]
        expected = other.read([Segment(0, (5, 6))]).residual
        _, pframes = zip(*video._parser.pframes([0, 1], (16, 4)), strict=True)
    np.testing.assert_array_equal(np.stack([pframe.residual for pframe in pframes]), expected[0])


@pytest.mark.parametrize("codec", ["mpeg4", "libx264"])
def test_packets_missing_in_the_middle_do_not_shift_the_numbers(codec: str, tmp_path: Path) -> None:
    whole = small(tmp_path / "whole.mkv", frames=24, codec=codec, options={"bf": "2"})
    path = remux(whole, tmp_path / "hole.mkv", lambda number: number not in (10, 11, 16))
    assert [text for text in disagreements(path) if not text.startswith("- ")] == []


@pytest.mark.parametrize("codec", ["mpeg4", "libx264", "libx265", "mpeg2video"])
@pytest.mark.parametrize("keep", [slice(40, None), slice(None, 60)])
def test_a_transport_stream_cut_within_a_packet(codec: str, keep: slice, tmp_path: Path) -> None:
    options = OPEN_X264 if codec == "libx264" else X265 if codec == "libx265" else {"bf": "2"}
    data = small(tmp_path / "whole.ts", codec=codec, options=options).read_bytes()
    begin, end, _ = keep.indices(100)
    (tmp_path / "cut.ts").write_bytes(data[len(data) * begin // 100 : len(data) * end // 100])
    assert [text for text in disagreements(tmp_path / "cut.ts") if not text.startswith("- ")] == []


@pytest.mark.parametrize("matrix", [1, 5, 9])  # BT.709, BT.601, BT.2020
@pytest.mark.parametrize("color_range", [1, 2])
@pytest.mark.parametrize(("codec", "suffix"), [("mpeg4", "mp4"), ("mpeg4", "mkv"), ("libx264", "ts")])
def test_colors_are_those_that_the_container_names(
    codec: str, suffix: str, matrix: int, color_range: int, tmp_path: Path
) -> None:
    path = tmp_path / f"colors.{suffix}"
    options = {"movflags": "write_colr"} if suffix == "mp4" else {}
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream(codec, rate=25, options={"g": "8"})
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        context = stream.codec_context
        context.colorspace, context.color_range, context.color_primaries = matrix, color_range, 1
        for rgb in scene(96, 64, 12):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")))
        container.mux(stream.encode(None))
    with av.open(str(path)) as container:
        assert container.streams.video[0].codec_context.colorspace == matrix
    assert disagreements(path) == []


@pytest.mark.parametrize("codec", ["libx264", "mpeg2video", "mpeg4"])
def test_a_stream_that_changes_its_size_gives_one_size(codec: str, tmp_path: Path) -> None:
    suffix = {"libx264": "h264", "mpeg2video": "m2v", "mpeg4": "m4v"}[codec]
    small(tmp_path / f"a.{suffix}", codec=codec)
    small(tmp_path / f"b.{suffix}", codec=codec, size=(128, 80))
    path = tmp_path / f"both.{suffix}"
    path.write_bytes((tmp_path / f"a.{suffix}").read_bytes() + (tmp_path / f"b.{suffix}").read_bytes())
    assert disagreements(path) == []
    with CompressedVideoReader(path) as video:
        assert (video.info.width, video.info.height) == (96, 64)
        assert video.info.num_frames == len(shown(path)) >= 20
        last = video.info.frame_types.rindex("I")
        assert video.read_frames([Segment(last, ())]).iframes.shape == (1, 3, 64, 96)


def test_interlaced_mpeg2_gives_no_motion_and_says_so_at_once(tmp_path: Path) -> None:
    path = small(tmp_path / "interlaced.mpg", codec="mpeg2video", options={"flags": "+ilme+ildct"})
    with CompressedVideoReader(path) as video:
        assert "interlaced mpeg2video: its vectors may refer to fields" in video.reason
        with pytest.raises(UnsupportedStreamError, match="its vectors may refer to fields"):
            video.require(("motion",))
        assert video.read(video.segments(2, 0), modalities=("iframes",)).iframes.any()


def test_a_container_that_breaks_off_behind_its_last_packet_is_read_and_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = small(tmp_path / "clip.mp4", codec="mpeg2video")
    demux = av.container.InputContainer.demux

    def padded(self: Any, *streams: Any) -> Any:
        yield from (packet for packet in demux(self, *streams) if packet.size)
        raise av.InvalidDataError(1, "padding", "clip.mp4")

    class Padded:
        def __init__(self, container: Any) -> None:
            self._container = container

        def __getattr__(self, name: str) -> Any:
            return getattr(self._container, name)

        def demux(self, *streams: Any) -> Any:
            return padded(self._container, *streams)

    opened = av.open
    monkeypatch.setattr("av.open", lambda *args, **options: Padded(opened(*args, **options)))
    with caplog.at_level(logging.WARNING), CompressedVideoReader(path) as video:
        assert video.info.num_frames == 20
    assert caplog.text.count("clip.mp4: the container breaks off after packet 19: padding") == 1


def test_a_damaged_tail_is_named_when_it_is_asked_for(tmp_path: Path) -> None:
    path = small(tmp_path / "clip.mkv", codec="mpeg2video", gop=10)
    with CompressedVideoReader(path) as video:
        size, position = int(video.index.sizes[17]), int(video.index.positions[17])
    data = bytearray(path.read_bytes())
    data[position + size // 4 : position + size] = b"\xa5" * (size - size // 4)
    path.write_bytes(data)
    with CompressedVideoReader(path) as video:
        assert video.info.num_frames == len(shown(path))
        assert video.read_frames([Segment(n, ()) for n in (3, 12)]).iframes.any()
        with pytest.raises(BitstreamError, match=r"clip\.mkv, frame 17: packet 17 is damaged"):
            video.read_frames([Segment(18, ())])


@pytest.mark.parametrize("codec", ["mpeg4", "libx264"])
def test_an_encrypted_file_is_named_as_such(codec: str, tmp_path: Path) -> None:
    options = {"encryption_scheme": "cenc-aes-ctr", "encryption_key": "76" * 16, "encryption_kid": "a7" * 16}
    path = small(tmp_path / "clip.mp4", codec=codec, container_options=options)
    with pytest.raises(UnsupportedStreamError, match=r"clip\.mp4: it is encrypted"):
        CompressedVideoReader(path)


def test_frames_larger_than_the_bound_are_refused_before_they_are_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = small(tmp_path / "clip.avi")
    monkeypatch.setenv("CVR_MAX_PIXELS", "6143")
    with pytest.raises(
        UnsupportedStreamError, match=r"clip\.avi: it declares .* at most 6143 pixels .*CVR_MAX_PIXELS"
    ):
        CompressedVideoReader(path)
    monkeypatch.setenv("CVR_MAX_PIXELS", "6144")
    with CompressedVideoReader(path) as video:
        assert video.info.num_frames == 20


def with_layer_size(data: bytes, width: int, height: int) -> bytes:
    """The same bytes with another size in every video object layer."""
    out, start = bytearray(data), data.find(VOL_START)
    while start >= 0:
        header = data[start : start + 64]
        place = 8 * len(header) - parse_vol(header).size_bit - 13
        bits = int.from_bytes(header, "big") & ~(0x1FFF << place | 0x1FFF << place - 14)
        out[start : start + 64] = (bits | width << place | height << place - 14).to_bytes(len(header), "big")
        start = data.find(VOL_START, start + 4)
    return bytes(out)


def with_container_size(data: bytes, width: int, height: int) -> bytes:
    """The bytes of an AVI with another size in the header of its stream."""
    place = data.index(b"strf") + 12
    return data[:place] + struct.pack("<ii", width, height) + data[place + 8 :]


def test_a_small_file_of_huge_frames_is_refused_and_named(tmp_path: Path) -> None:
    data, path = small(tmp_path / "clip.avi").read_bytes(), tmp_path / "huge.avi"
    path.write_bytes(with_layer_size(with_container_size(data, 8176, 8176), 8176, 8176))
    with pytest.raises(UnsupportedStreamError, match=r"huge\.avi.*at most 16777216 pixels are read"):
        CompressedVideoReader(path)
    path.write_bytes(with_layer_size(data, 8176, 8176))
    with pytest.raises(VideoError, match=r"huge\.avi"), CompressedVideoReader(path) as video:
        video.read(video.segments(1, 2))
    with (
        open_packets(path) as packets,
        pytest.raises(UnsupportedStreamError, match=r"huge\.avi: not read: frames of 8176x8176 pixels"),
    ):
        list(CompressedStream(packets, 2, 2, (64, 96)))
    path.write_bytes(with_container_size(data, 8176, 8176))
    assert disagreements(path) == []  # FFmpeg takes the size of the layer


def test_a_layer_without_pixels_is_refused_and_named(tmp_path: Path) -> None:
    path = tmp_path / "no_width.avi"
    path.write_bytes(with_layer_size(small(tmp_path / "clip.avi").read_bytes(), 0, 64))
    assert disagreements(path) == []  # FFmpeg takes the size that the container declares
    with (
        open_packets(path) as packets,
        pytest.raises(UnsupportedStreamError, match=r"no_width\.avi: not read: frames of 0x64 pixels"),
    ):
        list(CompressedStream(packets, 2, 2, (64, 96)))


def test_what_pyav_raises_becomes_an_error_that_names_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = small(tmp_path / "clip.mp4", codec="libx264")
    unknown = UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte")
    for error in (EOFError("end"), OSError(5, "Input/output error"), ValueError("31"), unknown):

        def fail(*args: object, raised: Exception = error, **options: object) -> object:
            raise raised

        with monkeypatch.context() as patch:
            patch.setattr("av.open", fail)
            with pytest.raises(UnreadableVideoError, match=r"clip\.mp4: FFmpeg cannot open it"):
                CompressedVideoReader(path)


def test_side_data_that_pyav_does_not_list_are_ignored() -> None:
    assert Type(31) is not None
    frame = av.VideoFrame.from_ndarray(np.zeros((16, 16, 3), np.uint8), format="rgb24")
    assert side_data(frame, "DISPLAYMATRIX") is None
