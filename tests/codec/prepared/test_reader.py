"""What is prepared in memory equals what ``cvr prepare`` writes."""

from __future__ import annotations

from dataclasses import fields
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from helpers.encoders import encode, scene
from helpers.real_clips import REAL_CLIPS

from cvr_lightning.codec import ClipArrays, CompressedVideoReader, Segment
from cvr_lightning.codec.errors import UnreadableVideoError, UnsupportedStreamError
from cvr_lightning.codec.prepared.form import Form, VideoReader, open_in_form
from cvr_lightning.codec.prepared.reader import PreparedVideoReader
from cvr_lightning.codec.prepared.recipe import Recipe
from cvr_lightning.tools.prepare.row import Job
from cvr_lightning.tools.prepare.video import prepare_video

SMALL = Recipe(size=(96, 64))
CLIPS = sorted(path.name for path in (REAL_CLIPS / "clips").glob("*")) or ["clips"]


def assert_same(one: ClipArrays, other: ClipArrays) -> None:
    names = {item.name for item in fields(one)} - {"prepared"}
    for name in names:
        assert np.array_equal(getattr(one, name), getattr(other, name)), name


def check_identity(path: Path, folder: Path, recipe: Recipe = SMALL) -> None:
    """Compare a file read in memory with the file that ``cvr prepare`` writes."""
    row = prepare_video(Job(path.parent, folder, path.name, recipe))
    assert row.status == "encoded", row.error
    with (
        CompressedVideoReader(path) as source,
        CompressedVideoReader(folder / row.target) as written,
    ):
        memory = PreparedVideoReader(source, recipe)
        assert memory.info.frame_types == written.info.frame_types
        assert (memory.info.width, memory.info.height) == (written.info.width, written.info.height)
        assert memory.info.fps == pytest.approx(written.info.fps, rel=1e-3)
        for windows in (memory.segments(4, 3), memory.segments(2, 11, 0.9)):
            assert_same(memory.read(windows), written.read(windows))
        pixels = {"accumulate": True, "representation": "pixel", "size": (64, 88)}
        assert_same(memory.read(windows[:1], **pixels), written.read(windows[:1], **pixels))  # type: ignore[arg-type]
        frame = [Segment(memory.info.num_frames - 1, ())]
        assert_same(memory.read_frames(frame), written.read_frames(frame))


@pytest.mark.parametrize("name", CLIPS)
def test_real_clips_are_as_prepared(name: str, tmp_path: Path) -> None:
    path = REAL_CLIPS / "clips" / name
    if not path.is_file():
        pytest.skip("no real clips: CVR_TEST_CLIPS names no folder that holds them")
    if name == "corrupted.mp4":
        pytest.skip("a damaged file, which cvr prepare refuses as a whole")
    check_identity(path, tmp_path)


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt", "options"),
    [
        ("hevc.mp4", "libx265", "yuv420p", {"x265-params": "log-level=none"}),
        ("hevc10.mp4", "libx265", "yuv420p10le", {"x265-params": "log-level=none"}),
        ("vp9.webm", "libvpx-vp9", "yuv420p", {}),
        ("av1.mp4", "libsvtav1", "yuv420p", {"preset": "12", "svtav1-params": "lp=1"}),
        ("h264_444.mp4", "libx264", "yuv444p", {}),
        ("h264_10bit.mp4", "libx264", "yuv420p10le", {}),
        ("h264_interlaced.mkv", "libx264", "yuv420p", {"flags": "+ildct+ilme", "x264-params": "tff=1"}),
        ("mpeg2_interlaced.mpg", "mpeg2video", "yuv420p", {"flags": "+ildct+ilme", "bf": "2"}),
        ("mpeg4_interlaced.avi", "mpeg4", "yuv420p", {"flags": "+ildct+ilme"}),
        ("mpeg1.mpg", "mpeg1video", "yuv420p", {"bf": "2"}),
        ("full_range.avi", "mjpeg", "yuvj420p", {}),
        ("rgb.avi", "ffv1", "bgr0", {}),
    ],
)
def test_codecs_that_no_parser_reads_are_as_prepared(
    name: str, codec: str, pix_fmt: str, options: dict[str, str], tmp_path: Path
) -> None:
    if codec not in av.codecs_available:
        pytest.skip(f"this build of FFmpeg has no encoder {codec}")
    path = encode(tmp_path / name, (112, 80), 40, codec, gop=25, pix_fmt=pix_fmt, options=options)
    check_identity(path, tmp_path / "prepared")


@pytest.mark.parametrize("turn", [90, 180, 270])
def test_rotated_videos_are_as_prepared(turn: int, tmp_path: Path) -> None:
    path = encode(tmp_path / "a.mp4", (112, 80), 20, "libx264", rotation=turn)
    check_identity(path, tmp_path / "prepared", Recipe(size=None, short_side=64, gop=5))


def test_a_variable_frame_rate_is_as_prepared(tmp_path: Path) -> None:
    ticks = [0, 1, 2, 100, 101, 102, 103, 500, 501, 999, 1000, 1003, 1004, 1500]
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        stream = container.add_stream("mjpeg", rate=1000)
        stream.width, stream.height, stream.pix_fmt = 96, 80, "yuvj420p"
        for tick, rgb in zip(ticks, scene(96, 80, len(ticks)), strict=True):
            frame = av.VideoFrame.from_ndarray(rgb, format="rgb24")
            frame.pts, frame.time_base = tick, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    check_identity(tmp_path / "a.mkv", tmp_path / "prepared")


def test_cuts_do_not_move_the_gops(tmp_path: Path) -> None:
    """Each frame is another scene, where an encoder would start a GOP."""
    with av.open(str(tmp_path / "a.avi"), "w") as container:
        stream = container.add_stream("mjpeg", rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 80, "yuvj420p"
        for seed in range(26):
            (rgb,) = scene(96, 80, 1, seed)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")))
        container.mux(stream.encode(None))
    check_identity(tmp_path / "a.avi", tmp_path / "prepared")
    with CompressedVideoReader(tmp_path / "prepared" / "a.mp4") as written:
        assert written.info.gop_lengths == (12, 12, 2)


def test_only_the_needed_gops_are_encoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = encode(tmp_path / "a.mkv", (96, 80), 60, "ffv1", pix_fmt="yuv420p")
    with CompressedVideoReader(path) as source:
        memory = PreparedVideoReader(source, SMALL)
        scaled: list[int] = []
        scale = memory._scaled
        monkeypatch.setattr(memory, "_scaled", lambda frame: scaled.append(frame.pts) or scale(frame))
        memory.read([Segment(12, (13, 14)), Segment(48, (50,))])
    assert len(scaled) == 6  # frames 12 to 14 and 48 to 50


def test_a_damaged_frame_is_refused_only_where_it_is_needed(tmp_path: Path) -> None:
    options = {"x265-params": "log-level=none"}
    path = encode(tmp_path / "a.mp4", (96, 80), 48, "libx265", gop=12, options=options)
    with av.open(str(path)) as container:
        packets = [bytes(packet) for packet in container.demux(video=0) if packet.size]
    data = bytearray(path.read_bytes())
    place = data.index(packets[30])
    data[place : place + len(packets[30])] = bytes(len(packets[30]))
    path.write_bytes(data)
    with CompressedVideoReader(path) as source:
        memory = PreparedVideoReader(source, SMALL)
        assert memory.read([Segment(0, (1, 2))]).mask.all()
        with pytest.raises(UnreadableVideoError, match=r"a\.mp4.*packet 3\d"):
            memory.read([Segment(24, tuple(range(25, 36)))])


@pytest.mark.parametrize(
    ("codec", "form", "expected"),
    [
        ("mpeg4", "auto", "CompressedVideoReader"),
        ("mpeg4", "prepared", "CompressedVideoReader"),
        ("libx264", "auto", "CompressedVideoReader"),
        ("libx264", "prepared", "PreparedVideoReader"),
        ("mpeg1video", "auto", "PreparedVideoReader"),
        ("mpeg1video", "prepared", "PreparedVideoReader"),
    ],
)
def test_the_form_decides_what_is_prepared(codec: str, form: Form, expected: str, tmp_path: Path) -> None:
    path = encode(tmp_path / "a.mkv", (96, 64), 20, codec)

    def read(video: VideoReader) -> str:
        video.read(video.segments(2, 2))
        return type(video).__name__

    with open_in_form(path, form, SMALL) as file:
        assert file.read(read) == expected
    if expected == "PreparedVideoReader" and form == "auto":
        with (
            open_in_form(path, "stored", SMALL) as file,
            pytest.raises(UnsupportedStreamError, match="prepare it"),
        ):
            file.read(read)


def test_a_shape_that_mpeg4_cannot_hold_is_refused(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.mkv", (640, 16), 2, "ffv1", pix_fmt="yuv420p")
    with CompressedVideoReader(path) as source, pytest.raises(UnsupportedStreamError, match="10240x256"):
        PreparedVideoReader(source, Recipe(None, 256))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"short_side": 64}, "give one of the two"),
        ({"size": None}, "give one of the two"),
        ({"size": (97, 64)}, "even"),
        ({"size": (96,)}, "two sides"),
        ({"gop": 0}, "between 1 and 600"),
    ],
)
def test_a_recipe_out_of_range_is_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Recipe(**values)  # type: ignore[arg-type]
