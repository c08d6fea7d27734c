"""What errors advise is done, and helps."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.encoders import encode
from helpers.global_motion import encode_global_motion
from helpers.tiny_datasets import VP9
from helpers.tiny_runs import TINY_CLIPS, untrained_checkpoint

from cvr_lightning.cli.main import main
from cvr_lightning.codec import CompressedVideoReader
from cvr_lightning.codec.arrays import MODALITIES
from cvr_lightning.codec.errors import UnsupportedStreamError
from cvr_lightning.datamodules.sampling import ClipSampling

SIZE = (96, 80)
MATRIX = 44
"""Bytes from the type of a version 0 ``tkhd`` box to its display matrix (ISO/IEC 14496-12, 8.3.2)."""


def displayed(path: Path, a: float, b: float, c: float, d: float) -> Path:
    """A video whose container asks for this display matrix."""
    data = bytearray(encode(path, SIZE, frames=6).read_bytes())
    numbers = [round(65536 * value) for value in (a, b, 0, c, d, 0, 0, 0)]
    struct.pack_into(">8i", data, data.index(b"tkhd") + MATRIX, *numbers)
    path.write_bytes(data)
    return path


def mirrored(folder: Path) -> Path:
    return displayed(folder / "mirrored.mp4", -1, 0, 0, 1)


def vp9(folder: Path) -> Path:
    return encode(folder / "vp9.webm", SIZE, frames=6, codec="libvpx-vp9", options=VP9)


def mpeg2(folder: Path) -> Path:
    return encode(folder / "b.ts", SIZE, frames=12, codec="mpeg2video", options={"bf": "2"})


def refusal(path: Path) -> UnsupportedStreamError:
    with pytest.raises(UnsupportedStreamError) as caught, CompressedVideoReader(path) as reader:
        reader.require(MODALITIES)
    return caught.value


@pytest.mark.parametrize("make", [mirrored, vp9, mpeg2])
def test_a_video_that_is_prepared_as_its_error_advises_is_read(
    make: Callable[[Path], Path], tmp_path: Path
) -> None:
    source = tmp_path / "src"
    source.mkdir()
    path = make(source)
    assert "cvr prepare SRC DST" in refusal(path).without_alternative()
    main(["prepare", str(source), str(tmp_path / "dst"), "--workers=1"])
    with CompressedVideoReader(tmp_path / "dst" / f"{path.stem}.mp4") as reader:
        reader.require(MODALITIES)
        assert reader.read(reader.segments(1, 1)).motion.shape[0] == 1


def test_rotations_that_no_command_supports_need_a_video_editor(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = displayed(tmp_path / "askew.mp4", 0.7, 0.7, -0.7, 0.7)
    assert "video editor" in str(refusal(path))
    assert "prepare" not in str(refusal(path))
    with pytest.raises(SystemExit):
        main(["prepare", str(tmp_path), str(tmp_path.parent / "dst"), "--workers=1"])
    assert "turn them upright with a video editor" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("make", "modalities", "option"),
    [(vp9, ("iframes",), "'[iframes]'"), (mpeg2, ("iframes", "motion"), "'[iframes, motion]'")],
)
def test_training_may_ask_for_less_and_a_checkpoint_may_not(
    make: Callable[[Path], Path], modalities: tuple[str, ...], option: str, tmp_path: Path
) -> None:
    path = make(tmp_path)
    error = refusal(path)
    assert f"--data.sampling.modalities {option}" in str(error)
    assert "--data" not in error.without_alternative()
    with CompressedVideoReader(path) as reader:
        arrays = reader.read(reader.segments(1, 1), modalities=modalities)  # type: ignore[arg-type]
        assert arrays.iframes.any()


def long(folder: Path) -> Path:
    return encode(folder / "long.mp4", (64, 48), frames=700, gop=300)


def hevc(folder: Path) -> Path:
    return encode(
        folder / "h265.mp4", SIZE, frames=12, codec="libx265", options={"x265-params": "log-level=0"}
    )


def av1(folder: Path) -> Path:
    options = {"preset": "12", "svtav1-params": "lp=1"}
    return encode(folder / "av1.mkv", SIZE, frames=6, codec="libsvtav1", options=options)


def interlaced(folder: Path) -> Path:
    return encode(folder / "asp.avi", SIZE, frames=12, options={"flags": "+ildct+ilme"})


def interlaced_mpeg2(folder: Path) -> Path:
    return encode(folder / "dvd.mpg", SIZE, frames=12, codec="mpeg2video", options={"flags": "+ildct+ilme"})


def partitioned(folder: Path) -> Path:
    return encode(folder / "partitions.avi", SIZE, frames=12, options={"data_partitioning": "1"})


def chroma444(folder: Path) -> Path:
    return encode(folder / "chroma.mp4", SIZE, frames=12, codec="libx264", pix_fmt="yuv444p")


def field_tools(folder: Path) -> Path:
    return encode(folder / "fields.mp4", SIZE, frames=12, codec="libx264", options={"flags": "+ildct+ilme"})


def intra_only(folder: Path) -> Path:
    return encode(folder / "camera.mov", SIZE, frames=6, codec="mjpeg", pix_fmt="yuvj420p")


def h263(folder: Path) -> Path:
    return encode(folder / "phone.3gp", (176, 144), frames=6, codec="h263")


def global_motion(folder: Path) -> Path:
    path, source = encode_global_motion(folder / "gmc.m4v", SIZE)
    source.unlink()
    return path


SOUND = [
    *(mirrored, vp9, mpeg2, long, hevc, av1, interlaced, interlaced_mpeg2, partitioned),
    *(chroma444, field_tools, intra_only, h263, global_motion),
]
"""Videos that a player shows."""


def cut(folder: Path) -> Path:
    path = encode(folder / "cut.avi", SIZE, frames=30)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


def text(folder: Path) -> Path:
    path = folder / "text.mp4"
    path.write_text("no video\n")
    return path


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint that reads all fields as they are stored."""
    sampling = ClipSampling(segments=2, pframes=2, size=(64, 88), crop=64, form="stored")
    return untrained_checkpoint(tmp_path_factory.mktemp("checkpoint") / "a.ckpt", ["a", "b"], sampling)


def train(videos: Path, runs: Path, *more: str) -> None:
    main(
        [
            *("fit", "--data=Folder", f"--data.root={videos}", "--data.num_workers=0", "--run=x"),
            *TINY_CLIPS,
            *(f"--trainer.default_root_dir={runs}", "--trainer.max_epochs=1", "--trainer.accelerator=cpu"),
            *("--trainer.enable_progress_bar=false", "--trainer.num_sanity_val_steps=0", *more),
        ]
    )


def failure(capsys: pytest.CaptureFixture[str], *command: str) -> str:
    """What a command that fails says; empty where it works."""
    capsys.readouterr()
    try:
        main(command)
    except SystemExit:
        return capsys.readouterr().err or "no message"
    return ""


def do(command: str) -> None:
    """Run an advised command line."""
    name, *arguments = shlex.split(command)
    if name == "cvr":
        main([*arguments, "--workers=1"])
    elif shutil.which(name):
        run_ffmpeg(arguments)


def run_ffmpeg(arguments: list[str]) -> bytes:
    """What ffmpeg writes to its output."""
    command = ["ffmpeg", "-loglevel", "error", "-nostdin", *arguments]
    return subprocess.run(command, check=True, capture_output=True).stdout


@pytest.mark.parametrize("make", SOUND[1:])
def test_the_commands_that_inspect_prints_make_a_video_that_is_read(
    make: Callable[[Path], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    source = tmp_path / "it's a source"
    source.mkdir()
    path = make(source)
    monkeypatch.chdir(tmp_path)
    main(["inspect", str(path), "--json"])
    commands = json.loads(capsys.readouterr().out)["prepare"]["commands"]
    assert [command.partition(" ")[0] for command in commands] == ["ffmpeg", "cvr"]
    for command in reversed(commands):
        do(command)
    written = [tmp_path / "prepared" / f"{path.stem}.mp4", path.with_name(f"{path.stem}_prepared.mp4")]
    for video in filter(Path.exists, written):
        with CompressedVideoReader(video) as reader:
            reader.require(MODALITIES)
            assert reader.info.codec == "mpeg4"
    assert written[0].exists()


@pytest.mark.parametrize("command", ["classify", "watch"])
@pytest.mark.parametrize("make", SOUND)
def test_a_video_that_cannot_be_labeled_is_after_what_the_message_advises(
    make: Callable[[Path], Path],
    command: str,
    checkpoint: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "source").mkdir()
    path = make(tmp_path / "source")
    message = failure(capsys, command, str(path), "--checkpoint", str(checkpoint))
    if not message:
        return
    assert "--data" not in message
    prepared = prepare_as_advised(message, path, tmp_path)
    if prepared is not None:
        assert failure(capsys, command, str(prepared), "--checkpoint", str(checkpoint)) == ""


def prepare_as_advised(message: str, path: Path, folder: Path) -> Path | None:
    """Encode a video or prepare its folder as a message advises; None where ffmpeg is not installed."""
    way = re.search(r"encode it on the way: ffmpeg (.+) - \| cvr watch -", message)
    if way is None:
        assert "cvr prepare SRC DST" in message
        main(["prepare", str(path.parent), str(folder / "prepared"), "--workers=1"])
        return folder / "prepared" / f"{path.stem}.mp4"
    if not shutil.which("ffmpeg"):
        return None
    options = way[1].replace(" IN ", f" {shlex.quote(str(path))} ")
    written = folder / "written.avi"
    written.write_bytes(run_ffmpeg([*shlex.split(options), "-"]))
    return written


@pytest.mark.parametrize("command", ["classify", "watch"])
@pytest.mark.parametrize("make", [cut, text])
def test_what_preparing_does_not_repair_is_to_be_fetched_again(
    make: Callable[[Path], Path],
    command: str,
    checkpoint: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = make(tmp_path)
    message = failure(capsys, command, str(path), "--checkpoint", str(checkpoint))
    assert "fetch or encode the file again" in message
    assert "prepare" not in message


@pytest.mark.parametrize("make", [vp9, mpeg2, chroma444, interlaced])
def test_a_training_runs_with_each_of_the_ways_that_its_message_names(
    make: Callable[[Path], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    videos = tmp_path / "videos"
    for part in ("train", "val"):
        for name in "ab":
            (videos / part / name).mkdir(parents=True)
            make(videos / part / name)
    with pytest.raises(SystemExit):
        train(videos, tmp_path)
    message = capsys.readouterr().err
    option, value = shlex.split(message[message.index("--data.sampling.modalities") :])[:2]
    train(videos, tmp_path / "fewer", option, value)
    assert "cvr prepare SRC DST" in message
    main(["prepare", str(videos), str(tmp_path / "prepared"), "--workers=1"])
    train(tmp_path / "prepared", tmp_path / "all")
