"""What stands between a command and the terminal."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

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
    assert b"1 of 1 videos failed" in done.stderr
    assert rb"\u8d70.avi" in done.stderr or rb"\udce8" in done.stderr


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
