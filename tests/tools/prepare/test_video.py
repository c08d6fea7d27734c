"""One video of any kind to the form that was asked for."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import pytest
from helpers.encoders import encode, scene
from helpers.real_clips import REAL_CLIPS

from cvr_lightning.codec import CompressedVideoReader
from cvr_lightning.codec.prepared.recipe import Recipe
from cvr_lightning.errors import OutputError
from cvr_lightning.tools.prepare import video as video_module
from cvr_lightning.tools.prepare.row import Job, Row
from cvr_lightning.tools.prepare.video import INTERLACED, prepare_video

SMALL = Recipe(size=(96, 64))
Prepare = Callable[..., Row]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "src").mkdir()
    return tmp_path / "src"


@pytest.fixture
def prepare(source: Path, tmp_path: Path) -> Prepare:
    """Prepare a file of ``source``."""

    def run(path: Path, recipe: Recipe = SMALL) -> Row:
        return prepare_video(Job(source, tmp_path / "dst", path.relative_to(source).as_posix(), recipe))

    return run


def pictures(path: Path) -> list[npt.NDArray[np.uint8]]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def packets(path: Path) -> list[bytes]:
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(video=0) if packet.size]


def test_the_encoded_file_has_the_format_and_every_frame(
    source: Path, tmp_path: Path, prepare: Prepare
) -> None:
    row = prepare(encode(source / "clip.avi", frames=30, gop=250, options={"bf": "2"}))
    target = tmp_path / "dst" / "clip.mp4"
    assert row == Row(
        source="clip.avi",
        target="clip.mp4",
        status="encoded",
        codec="mpeg4",
        frames=30,
        gop=12,
        width=96,
        height=64,
        bytes=target.stat().st_size,
        source_bytes=(source / "clip.avi").stat().st_size,
    )
    with CompressedVideoReader(target) as video:
        assert video.parser == "mpeg4"
        assert video.info.frame_types == ("I" + 11 * "P") * 2 + "I" + 5 * "P"
        assert video.info.fps == 25
        assert {int(video.parse(n).quantizer.max()) for n in range(30)} == {2}
    assert os.listdir(tmp_path / "dst") == ["clip.mp4"]


def test_pictures_are_preserved(source: Path, tmp_path: Path, prepare: Prepare) -> None:
    prepare(encode(source / "clip.mp4", options={"qmin": "2", "qmax": "2"}), Recipe(size=(176, 144), gop=5))
    for before, after in zip(
        pictures(source / "clip.mp4"), pictures(tmp_path / "dst" / "clip.mp4"), strict=True
    ):
        assert np.abs(before.astype(int) - after).mean() < 3


def test_the_same_source_gives_the_same_bytes(source: Path, tmp_path: Path, prepare: Prepare) -> None:
    first, second = encode(source / "a.avi", options={"bf": "2"}), source / "b.avi"
    second.write_bytes(first.read_bytes())
    prepare(first)
    prepare(second)
    written = (tmp_path / "dst" / "a.mp4").read_bytes()
    assert written == (tmp_path / "dst" / "b.mp4").read_bytes()
    with av.open(str(tmp_path / "dst" / "a.mp4")) as container:
        assert "creation_time" not in container.metadata | container.streams.video[0].metadata


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt"),
    [
        ("a.mp4", "libx264", "yuv444p"),
        ("a.mp4", "libx264", "yuv420p10le"),
        ("a.mov", "prores_ks", "yuv422p10le"),
        ("a.avi", "ffv1", "bgr0"),
        ("a.webm", "libvpx-vp9", "yuv420p"),
        ("a.mpg", "mpeg1video", "yuv420p"),
    ],
)
def test_other_codecs_and_pixel_formats_are_encoded(
    name: str, codec: str, pix_fmt: str, source: Path, prepare: Prepare
) -> None:
    row = prepare(encode(source / name, size=(96, 64), frames=6, codec=codec, pix_fmt=pix_fmt))
    assert (row.status, row.frames, row.error) == ("encoded", 6, "")
    assert row.codec == codec.replace("lib", "").replace("x264", "h264").replace("vpx-", "").split("_")[0]


def test_full_range_pictures_keep_their_brightness(source: Path, tmp_path: Path, prepare: Prepare) -> None:
    prepare(encode(source / "a.avi", size=(96, 64), frames=4, codec="mjpeg", pix_fmt="yuvj420p"))
    for before, after in zip(pictures(source / "a.avi"), pictures(tmp_path / "dst" / "a.mp4"), strict=True):
        assert abs(float(before.mean()) - float(after.mean())) < 1


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("turn", [0, 90, 180, 270])
def test_frames_are_turned_upright(
    turn: int, mirrored: bool, source: Path, tmp_path: Path, prepare: Prepare
) -> None:
    with av.open(str(source / "a.mp4"), "w") as container:
        stream = container.add_stream("mpeg4", rate=25, options={"qmin": "2", "qmax": "2"})
        stream.width, stream.height = 96, 64
        stream.set_display_rotation(turn, hflip=mirrored)
        for rgb in scene(96, 64, 3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")))
        container.mux(stream.encode(None))
    coded = pictures(source / "a.mp4")[0]
    shown = np.rot90(coded, turn // 90)[:, :: -1 if mirrored else 1]
    prepare(source / "a.mp4", Recipe(short_side=64, size=None))
    written = pictures(tmp_path / "dst" / "a.mp4")[0]
    assert written.shape == shown.shape
    assert np.abs(written.astype(int) - shown).mean() < 4
    with CompressedVideoReader(tmp_path / "dst" / "a.mp4") as video:
        assert video.info.rotation == 0


def test_frames_shown_askew_are_refused(source: Path, tmp_path: Path, prepare: Prepare) -> None:
    row = prepare(encode(source / "a.mp4", frames=3, rotation=30))
    assert row.status == "failed"
    assert row.error.startswith("a.mp4: its frames are displayed askew")


def test_audio_is_dropped_and_interlacing_noted(source: Path, tmp_path: Path, prepare: Prepare) -> None:
    with av.open(str(source / "a.mkv"), "w") as container:
        picture = container.add_stream("mpeg2video", rate=25, options={"flags": "+ildct+ilme"})
        sound = container.add_stream("pcm_s16le", rate=8000)
        picture.width, picture.height = 96, 64
        for rgb in scene(96, 64, 5):
            container.mux(picture.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")))
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), layout="mono")
        silence.sample_rate = 8000
        container.mux([*sound.encode(silence), *sound.encode(None), *picture.encode(None)])
    assert prepare(source / "a.mkv").note == INTERLACED
    with av.open(str(tmp_path / "dst" / "a.mp4")) as container:
        assert [stream.type for stream in container.streams] == ["video"]


def test_every_frame_is_kept_once_whatever_the_timestamps_say(
    source: Path, tmp_path: Path, prepare: Prepare
) -> None:
    ticks = [0, 1, 2, 100, 101, 102, 103, 500, 501, 999]
    with av.open(str(source / "a.mkv"), "w") as container:
        stream = container.add_stream("mjpeg", rate=1000)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuvj420p"
        for tick, rgb in zip(ticks, scene(96, 64, len(ticks)), strict=True):
            frame = av.VideoFrame.from_ndarray(rgb, format="rgb24")
            frame.pts, frame.time_base = tick, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    assert prepare(source / "a.mkv").frames == len(ticks)
    for before, after in zip(pictures(source / "a.mkv"), pictures(tmp_path / "dst" / "a.mp4"), strict=True):
        assert np.abs(before.astype(int) - after).mean() < 8


def test_a_size_that_changes_in_the_middle_is_scaled_to_one(source: Path, prepare: Prepare) -> None:
    parts = [
        encode(source / f"{width}.m1v", size=(width, 80), frames=8, codec="mpeg1video") for width in (176, 96)
    ]
    (source / "a.mpg").write_bytes(b"".join(part.read_bytes() for part in parts))
    shapes = [picture.shape for picture in pictures(source / "a.mpg")]
    assert set(shapes) == {(80, 176, 3), (80, 96, 3)}
    row = prepare(source / "a.mpg")
    assert (row.frames, row.width, row.height) == (len(shapes), 96, 64)


@pytest.mark.parametrize(
    ("size", "aspect", "expected"),
    [
        ((320, 240), Fraction(1), (342, 256)),
        ((240, 320), Fraction(1), (256, 342)),
        ((720, 576), Fraction(16, 15), (342, 256)),
        ((1920, 1080), Fraction(1), (456, 256)),
        ((256, 256), Fraction(1), (256, 256)),
    ],
)
def test_the_short_side_keeps_the_aspect_as_displayed(
    size: tuple[int, int], aspect: Fraction, expected: tuple[int, int]
) -> None:
    assert Recipe(size=None, short_side=256).size_of(*size, aspect) == expected
    assert Recipe().size_of(*size, aspect) == (340, 256)


def test_a_file_in_the_format_is_linked_under_its_own_name(
    source: Path, tmp_path: Path, prepare: Prepare
) -> None:
    path = encode(source / "fits.avi", size=(96, 64), frames=20)
    row = prepare(path)
    assert (row.status, row.target, row.frames, row.gop) == ("linked", "fits.avi", 20, 12)
    assert (tmp_path / "dst" / "fits.avi").samefile(path)
    assert os.listdir(tmp_path / "dst") == ["fits.avi"]
    assert prepare(path) == row  # again, over itself


def test_a_link_to_a_video_gives_a_hard_link_to_the_video(
    source: Path, tmp_path: Path, prepare: Prepare
) -> None:
    path = encode(tmp_path / "elsewhere.mp4", size=(96, 64))
    (source / "a.mp4").symlink_to(path)
    assert prepare(source / "a.mp4").status == "linked"
    assert not (tmp_path / "dst" / "a.mp4").is_symlink()
    assert (tmp_path / "dst" / "a.mp4").samefile(path)


def test_where_no_link_can_be_made_the_file_is_copied(
    source: Path, tmp_path: Path, prepare: Prepare, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EXDEV, "another file system")

    monkeypatch.setattr(os, "link", refuse)
    path = encode(source / "fits.mp4", size=(96, 64))
    assert prepare(path).status == "copied"
    assert (tmp_path / "dst" / "fits.mp4").read_bytes() == path.read_bytes()
    assert not (tmp_path / "dst" / "fits.mp4").samefile(path)


@pytest.mark.parametrize(
    "unfit",
    [
        {"size": (96, 80)},
        {"gop": 13},
        {"options": {"bf": "2"}},
        {"rotation": 180},
        {"codec": "mpeg1video", "frames": 12},
        {"options": {"flags": "+ildct+ilme"}},
    ],
)
def test_a_file_that_misses_the_format_in_one_point_is_encoded(
    unfit: dict[str, object], source: Path, prepare: Prepare
) -> None:
    suffix = ".mpg" if "codec" in unfit else ".mp4"
    path = encode(source / f"a{suffix}", **({"size": (96, 64)} | unfit))  # type: ignore[arg-type]
    assert prepare(path).status == "encoded"


def test_a_damaged_video_fails_with_its_cause_and_leaves_nothing(
    source: Path, tmp_path: Path, prepare: Prepare
) -> None:
    path = encode(source / "a.mp4", codec="libx264", frames=30)
    data = bytearray(path.read_bytes())
    for packet in packets(path)[10:12]:
        place = data.index(packet)
        data[place + 4 : place + len(packet)] = bytes(len(packet) - 4)
    path.write_bytes(data)
    row = prepare(path)
    assert row == Row("a.mp4", source_bytes=len(data), error=row.error)
    assert row.error.startswith("a.mp4: FFmpeg cannot decode packet")
    assert "fetch or encode the file again" in row.error
    assert not list((tmp_path / "dst").iterdir())


@pytest.mark.parametrize(
    ("content", "cause"),
    [(b"", "the file is empty"), (b"not a video at all", "FFmpeg cannot open it"), (None, "no such file")],
)
def test_what_is_not_a_video_fails_and_is_named(
    content: bytes | None, cause: str, source: Path, prepare: Prepare
) -> None:
    path = source / "a.avi"
    if content is None:
        path.symlink_to(source / "nowhere.avi")
    else:
        path.write_bytes(content)
    row = prepare(path)
    assert (row.status, row.source_bytes) == ("failed", len(content or b""))
    assert row.error.startswith(f"a.avi: {cause}")


def test_a_truncated_file_in_the_format_is_not_linked(source: Path, tmp_path: Path, prepare: Prepare) -> None:
    path = encode(source / "a.avi", size=(96, 64), frames=30)
    path.write_bytes(path.read_bytes()[:-5000])
    row = prepare(path)
    assert row.status == "failed"
    assert "cut short" in row.error
    assert not (tmp_path / "dst" / "a.avi").exists()


def test_a_full_disk_is_not_an_error_of_the_video(
    source: Path, prepare: Prepare, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill_up(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    path = encode(source / "a.avi", frames=3)
    monkeypatch.setattr(video_module, "encode", fill_up)
    with pytest.raises(OutputError, match=r"\(No space left on device\); free disk space"):
        prepare(path)


def test_sound_mpeg2_is_prepared_with_every_frame(source: Path, prepare: Prepare) -> None:
    sample = REAL_CLIPS / "defects" / "mpeg2_t.mpg"
    if not sample.is_file():
        pytest.skip("no real clip mpeg2_t.mpg: CVR_TEST_CLIPS names no folder that holds it")
    (source / "clip.mpg").write_bytes(sample.read_bytes())
    row = prepare(source / "clip.mpg")
    assert (row.error, row.frames, row.note) == ("", 69, INTERLACED)
