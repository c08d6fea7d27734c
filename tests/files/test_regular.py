"""Files that are none: named pipes, devices, folders, links."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from cvr_lightning.errors import OutputError, RunError
from cvr_lightning.evaluation.results import read_results
from cvr_lightning.evaluation.score_file import ScoreFile
from cvr_lightning.files.lock import hold
from cvr_lightning.files.regular import open_to_append, open_to_read
from cvr_lightning.tools.report.run import read_curves
from cvr_lightning.training.metrics_file import MetricsFile


def pipe(path: Path) -> None:
    os.mkfifo(path)


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize("make", [pipe, device, Path.mkdir])
def test_nothing_but_a_regular_file_is_opened(make: Callable[[Path], None], tmp_path: Path) -> None:
    make(tmp_path / "file")
    for opener in (open_to_read, open_to_append):
        with pytest.raises(OSError, match=r"regular file|link|directory"):
            opener(tmp_path / "file")


@pytest.mark.parametrize("make", [pipe, device, Path.mkdir])
@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("results.json", read_results),
        ("scores.npz", lambda folder: ScoreFile.read(folder)),
        ("metrics.csv", read_curves),
        ("metrics.csv", lambda folder: add_row(folder)),
    ],
)
def test_a_run_of_a_stranger_does_not_block_its_reader(
    make: Callable[[Path], None], name: str, read: Callable[[Path], object], tmp_path: Path
) -> None:
    make(tmp_path / name)
    with pytest.raises(RunError, match=name):
        read(tmp_path)


def add_row(folder: Path) -> None:
    metrics = MetricsFile(folder)
    metrics.log_metrics({"loss": 1.0}, step=1)
    metrics.finalize("success")


def test_nothing_is_written_through_a_link(tmp_path: Path) -> None:
    victim, run = tmp_path / "victim", tmp_path / "run"
    victim.write_text("step,loss\n")
    run.mkdir()
    for name in (".lock", "metrics.csv"):
        (run / name).symlink_to(victim)
    with pytest.raises(OutputError, match="it is a link"), hold(run):
        pass
    metrics = MetricsFile(run)
    for step in (1, 2, 3):  # the first replaces the link by a file
        metrics.log_metrics({"loss": 1.0}, step=step)
    metrics.finalize("success")
    assert victim.read_text() == "step,loss\n"
    assert (run / "metrics.csv").read_text().count("\n") == 4


def test_a_file_is_made_and_continued(tmp_path: Path) -> None:
    for text in (b"a", b"b"):
        with open_to_append(tmp_path / "file") as file:
            file.write(text)
    with open_to_read(tmp_path / "file") as file:
        assert file.read() == b"ab"
