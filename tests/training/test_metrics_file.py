"""metrics.csv of runs that go on, add columns, and were killed."""

import csv
from pathlib import Path

import pytest

from cvr_lightning.errors import OutputError
from cvr_lightning.training.metrics_file import MetricsFile


def rows(directory: Path) -> list[dict[str, str]]:
    with (directory / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_scalars_of_a_step_share_a_row_and_new_ones_add_a_column(tmp_path: Path) -> None:
    logger = MetricsFile(tmp_path)
    logger.log_metrics({"loss": 2.5}, 0)
    logger.log_metrics({"rate": 0.1}, 0)
    logger.log_metrics({"loss": 1.5}, 1)
    logger.log_metrics({"loss": 1.0, "top1": 0.5}, 2)
    logger.finalize("success")
    assert rows(tmp_path) == [
        {"step": "0", "loss": "2.5", "rate": "0.1", "top1": ""},
        {"step": "1", "loss": "1.5", "rate": "", "top1": ""},
        {"step": "2", "loss": "1.0", "rate": "", "top1": "0.5"},
    ]


def test_a_killed_run_continues_after_its_last_complete_row(tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").write_text("step,loss\n0,2.5\n1,2.2\n2,0.")
    logger = MetricsFile(tmp_path)
    logger.log_metrics({"loss": 2.0}, 1)
    logger.finalize("success")
    assert [(row["step"], row["loss"]) for row in rows(tmp_path)] == [
        ("0", "2.5"),
        ("1", "2.2"),
        ("1", "2.0"),
    ]


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("a file")
    logger = MetricsFile(tmp_path / "run")
    logger.log_metrics({"loss": 2.0}, 1)
    with pytest.raises(OutputError, match=r"metrics\.csv: cannot be written"):
        logger.finalize("success")
