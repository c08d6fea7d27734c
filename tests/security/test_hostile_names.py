"""Names that strangers chose reach a terminal or a log without control codes, and files as they are."""

from __future__ import annotations

import csv
import logging
import os
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from cvr_lightning.cli.boundary import show_warnings
from cvr_lightning.cli.main import main

HOSTILE = "\x1b]0;title\x07\x1b[2J\u202e\x9b\nFORGED"
CLASSES = (f"a{HOSTILE}", os.fsdecode(b"b\xff") + HOSTILE)
OURS = ("\x1b[K", "\x1b[A")
"""What ``cvr watch`` and progress bars move the cursor with."""
TINY = [
    *("--data.sampling.segments=2", "--data.sampling.pframes=2", "--data.sampling.size=[64,88]"),
    *("--data.sampling.crop=64", "--data.num_workers=0", "--data.batch_size=2"),
]
QUIET = ["--trainer.num_sanity_val_steps=0", "--trainer.enable_progress_bar=false"]


@pytest.fixture
def videos(shapes: Path, tmp_path: Path) -> Path:
    """Two classes of two videos in each part, and a file that is none; every name is hostile."""
    root = tmp_path / f"videos{HOSTILE}"
    sources = sorted(shapes.rglob("*.mp4"))
    for part in ("train", "val", "test"):
        for number, name in enumerate(CLASSES):
            (root / part / name).mkdir(parents=True)
            for video in range(2):
                shutil.copy(sources[2 * number + video], root / part / name / f"{video}{HOSTILE}.mp4")
        (root / part / CLASSES[0] / f"broken{HOSTILE}.mp4").write_bytes(b"no video")
        (root / part / CLASSES[0] / f"left{HOSTILE}.txt").touch()
    return root


def commands(videos: Path, folder: Path) -> Iterator[list[str]]:
    """One of each command, the later ones on what the earlier ones have written."""
    run, prepared = folder / f"run{HOSTILE}", folder / f"prepared{HOSTILE}"
    data = ["--data=Folder", f"--data.root={videos}", "--data.on_error=skip", *TINY]
    where = [f"--trainer.default_root_dir={folder}", *QUIET]
    checkpoint = str(run / "checkpoints" / "last.ckpt")
    video = str(videos / "test" / CLASSES[0] / f"0{HOSTILE}.mp4")
    broken = str(videos / "test" / CLASSES[0] / f"broken{HOSTILE}.mp4")
    yield ["prepare", str(videos), str(prepared), "--workers=1", "--size=88x64"]
    yield ["prepare", str(videos), str(prepared), "--workers=1", "--size=88x64", "--dry-run"]
    yield ["fit", *data, *where, f"--run={run.name}", "--trainer.max_epochs=1"]
    yield ["fit", *data, *where, f"--run={run.name}"]
    yield ["fit", *data, *where, "--data.root", str(folder / HOSTILE)]
    for command in ("validate", "test", "predict"):
        yield [command, f"--ckpt_path={checkpoint}", *QUIET]
    for file in (video, broken, f"{video}{HOSTILE}"):
        yield ["inspect", file, "--output", str(folder / f"sheet{HOSTILE}.png")]
        yield ["watch", file, "--checkpoint", checkpoint]
    yield ["classify", str(videos / "test"), broken, "--checkpoint", checkpoint]
    yield ["classify", video, "--checkpoint", checkpoint + HOSTILE]
    yield ["export", checkpoint, str(folder / f"model{HOSTILE}.pt2")]
    for command in (
        ["results"],
        ["results", "--mean"],
        ["report", "--output", str(folder / f"r{HOSTILE}.html")],
    ):
        yield [*command[:1], str(run), *command[1:]]
        yield [*command[:1], str(run) + HOSTILE, *command[1:]]
    for form in ("table", "csv", "latex", "json"):
        yield ["results", str(run), str(run), "--fuse", "--format", form]
    yield ["summarize", "--checkpoint", checkpoint, video]
    yield ["pack", str(folder / f"shards{HOSTILE}"), "--data=Folder", f"--data.root={videos}"]
    yield ["fit", "--import", f"{HOSTILE}.py"]
    yield ["fit", f"--data={HOSTILE}", f"--data.{HOSTILE}=1"]
    yield [HOSTILE]


def test_no_command_shows_a_control_code(
    videos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.chdir(tmp_path)
    caplog.set_level(logging.INFO)
    shown = ""
    for command in commands(videos, tmp_path):
        caplog.clear()
        status: object = 0
        try:
            main(command)
        except SystemExit as stop:
            status = stop.code
        captured = capsys.readouterr()
        text = f"{captured.out}\n{captured.err}\n{caplog.text}"
        for code in OURS:
            text = text.replace(code, "")
        assert "Traceback" not in text, command
        assert {letter for letter in text if not letter.isprintable()} <= {"\n", "\r"}, command
        assert not [line for line in text.split("\n") if line.startswith("FORGED")], command
        assert status in (0, 1, 2), command
        shown += text
    assert r"\x1b]0;title\x07\x1b[2J\u202e\x9b" in shown
    with (tmp_path / f"run{HOSTILE}" / "predictions.csv").open(
        encoding="utf-8", errors="surrogateescape", newline=""
    ) as file:
        rows = list(csv.DictReader(file))
    there = {str(path.relative_to(videos)) for path in videos.glob("test/*/[01]*.mp4")}
    assert {row["video"] for row in rows} == there
    assert {row["label"] for row in rows} <= set(CLASSES)


def test_a_warning_shows_no_control_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
    show_warnings()
    warnings.showwarning(f"no https://me:secret@host{HOSTILE}", UserWarning, "file.py", 1)
    shown = capsys.readouterr().err
    assert "https://host" in shown
    assert {letter for letter in shown if not letter.isprintable()} == {"\n"}
    assert "\nFORGED" not in shown
