"""The boundary between commands and the terminal: encodings, pipes, errors."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.encoders import encode
from helpers.tiny_runs import TINY_CLIPS

from cvr_lightning.cli.boundary import READER_LEFT, one_message
from cvr_lightning.cli.main import main
from cvr_lightning.errors import RunError

POSIX = {"LC_ALL": "C", "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


def cvr(*arguments: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "cvr_lightning", *arguments]
    return subprocess.run(command, env=os.environ | environment, capture_output=True, timeout=120)


def test_names_that_the_terminal_cannot_show_are_escaped(tmp_path: Path) -> None:
    folder = tmp_path / "videos"
    (folder / "caf\u00e9").mkdir(parents=True)
    (folder / "caf\u00e9" / "\u8d70.avi").write_bytes(b"no video")
    done = cvr("prepare", str(folder), str(tmp_path / "prepared"), **POSIX)
    assert done.returncode == 1
    assert b"Traceback" not in done.stderr
    assert b"1 of 1 video failed" in done.stderr
    assert rb"\u8d70.avi" in done.stderr or rb"\udce8" in done.stderr


SEVERAL = """
import json, os, sys
from cvr_lightning.cli.main import main

for command in json.loads(sys.argv[1]):
    print("#", command[0], flush=True)
    main([os.fsdecode(word.encode()) for word in command])  # as in sys.argv
"""


def test_names_beyond_ascii_are_read_in_the_posix_locale(tmp_path: Path) -> None:
    root = tmp_path / "videos"
    for part in ("train", "val"):
        for name in ("caf\u00e9", "\u8df3"):
            (root / part / name).mkdir(parents=True)
            encode(root / part / name / "\u5f71.avi", (96, 80), frames=10)
    video = str(root / "val" / "\u8df3" / "\u5f71.avi")
    checkpoint = str(tmp_path / "runs" / "x" / "checkpoints" / "last.ckpt")
    commands = [
        [
            *("fit", "--data=Folder", f"--data.root={root}", *TINY_CLIPS, "--run=x"),
            *(f"--trainer.default_root_dir={tmp_path}/runs", "--trainer.max_epochs=1"),
            *("--trainer.accelerator=cpu", "--data.num_workers=2"),
        ],
        ["test", f"--ckpt_path={checkpoint}"],
        ["predict", f"--ckpt_path={checkpoint}"],
        ["classify", video, "--checkpoint", checkpoint],
        ["classify", str(root), "--checkpoint", checkpoint, "--json"],
        ["watch", video, "--checkpoint", checkpoint],
        ["inspect", video, "--output", str(tmp_path / "\u56f3.png")],
        ["inspect", video, "--json"],
        ["prepare", str(root), str(tmp_path / "\u6574"), "--workers=1"],
        ["pack", str(tmp_path / "shards"), "--data=Folder", f"--data.root={root}"],
        ["report", f"{tmp_path}/runs/x", "--output", f"{tmp_path}/\u7d19.html"],
    ]
    script = [sys.executable, "-c", SEVERAL, json.dumps(commands)]
    done = subprocess.run(script, env=os.environ | POSIX, capture_output=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert [line.split()[-1].decode() for line in done.stdout.splitlines() if line.startswith(b"# ")] == [
        command[0] for command in commands
    ]


def test_a_closed_pipe_ends_the_command_quietly() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "cvr_lightning", "--help"]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, timeout=120)
    os.close(writing)
    assert (done.returncode, done.stderr) == (READER_LEFT, b"")


def test_a_bug_keeps_its_traceback_and_says_how_to_report_it(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop, one_message():
        raise KeyError("a defect")
    error = capsys.readouterr().err
    assert stop.value.code == 1
    assert "Traceback" in error
    assert "KeyError: 'a defect'" in error
    assert error.endswith("please report it with the lines above, the command and `cvr --version`\n")


@pytest.mark.parametrize("error", [RunError("a mistake"), IsADirectoryError(21, "a mistake", "folder")])
def test_a_mistake_is_one_message(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop, one_message():
        raise error
    assert stop.value.code == 1
    message = capsys.readouterr().err
    assert message.startswith("cvr: a mistake")
    assert message.count("\n") == 1


@pytest.mark.parametrize("command", ["fit", "pretrain"])
def test_training_without_videos_shows_examples(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([command, "--trainer.max_epochs=1"])
    error = capsys.readouterr().err
    assert "no videos to read" in error
    assert error.count(f"  cvr {command} --") >= 2
