"""A run directory is data: what no run wrote is refused by its name, and nothing in it is executed."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cvr_lightning.cli.loggers import RunBoard
from cvr_lightning.cli.main import main


class Evil:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, (f"touch {self.marker}",)


def config_of_objects(run: Path, marker: Path) -> None:
    (run / "config.yaml").write_text(f"data: !!python/object/apply:os.system ['touch {marker}']\n")


def config_that_unfolds(run: Path, marker: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    (run / "config.yaml").write_text("\n".join(lines))


def results_of_classes(run: Path, marker: Path) -> None:
    spawn = {"class_path": "subprocess.Popen", "init_args": {"args": ["touch", str(marker)]}}
    (run / "results.json").write_text(json.dumps({"config": {"trainer": {"strategy": spawn}}}))


def results_of_nothing(run: Path, marker: Path) -> None:
    (run / "results.json").write_text("[" * 100_000)


def scores_of_objects(run: Path, marker: Path) -> None:
    objects = np.array([Evil(marker)], dtype=object)
    np.savez(run / "scores.npz", video=objects, label=objects, views=objects)


def metrics_too_large(run: Path, marker: Path) -> None:
    with (run / "metrics.csv").open("wb") as file:
        file.truncate(1 << 40)


def metrics_of_one_long_field(run: Path, marker: Path) -> None:
    (run / "metrics.csv").write_text(f"step,loss\n1,{'9' * 200_000}\n")


@pytest.mark.parametrize(
    ("harm", "file", "commands"),
    [
        (config_of_objects, "config.yaml", ("report",)),
        (config_that_unfolds, "config.yaml", ("report",)),
        (results_of_classes, "results.json", ("results", "results --mean", "report")),
        (results_of_nothing, "results.json", ("results", "results --mean", "report")),
        (scores_of_objects, "scores.npz", ("results --fuse", "report")),
        (metrics_too_large, "metrics.csv", ("report",)),
        (metrics_of_one_long_field, "metrics.csv", ("report",)),
    ],
)
def test_files_that_no_run_wrote_are_refused_and_named(
    harm: Callable[[Path, Path], None],
    file: str,
    commands: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    runs, marker = [tmp_path / "a", tmp_path / "b"], tmp_path / "executed"
    for run in runs:
        run.mkdir()
        harm(run, marker)
    monkeypatch.chdir(tmp_path)
    for command in commands:
        with pytest.raises(SystemExit) as stop:
            main([*command.split()[:1], *map(str, runs), *command.split()[1:]])
        error = capsys.readouterr().err
        assert stop.value.code == 1
        assert error.startswith(f"cvr: {tmp_path / 'a' / file}: ")
        assert "Traceback" not in error
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def test_nothing_is_logged_through_a_link(tmp_path: Path) -> None:
    run, victim = tmp_path / "run", tmp_path / "victim"
    run.mkdir()
    (run / "hparams.yaml").symlink_to(victim)
    board = RunBoard(run)
    board.log_metrics({"train/loss": 1.0}, 0)
    board.save()
    board.finalize("success")
    assert not victim.exists()
    assert any(path.name.startswith("events.") for path in run.iterdir())
