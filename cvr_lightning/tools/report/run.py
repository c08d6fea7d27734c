"""Reads a run directory and lists its missing files."""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import TextIOWrapper
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import yaml

from cvr_lightning.errors import RunError
from cvr_lightning.evaluation.results import FILE_NAME as RESULTS
from cvr_lightning.evaluation.results import read_results
from cvr_lightning.evaluation.score_file import FILE_NAME as SCORES
from cvr_lightning.evaluation.score_file import ScoreFile
from cvr_lightning.evaluation.video_table import VideoTable
from cvr_lightning.files.bounds import TEXT_BYTES, read_text
from cvr_lightning.files.regular import open_to_read
from cvr_lightning.training.metrics_file import FILE_NAME as METRICS

CONFIG = "config.yaml"
_TESTS = "cvr test writes it"


@dataclass(frozen=True)
class Run:
    """A run directory.

    Attributes:
        name: The path as given by the user.
        results: results.json, None if missing.
        scores: scores.npz, None if missing.
        config: config.yaml, empty if missing.
        curves: (n, 2) step and value of each scalar, see :func:`read_curves`.
        missing: Missing files, with the command that creates each.
    """

    name: str
    results: dict[str, Any] | None
    scores: ScoreFile | None
    config: Mapping[str, Any]
    curves: Mapping[str, npt.NDArray[np.float64]]
    missing: tuple[str, ...]

    @classmethod
    def read(cls, directory: str) -> Run:
        """Read a run directory.

        Raises:
            RunError: It does not exist, holds no file of a run, or a damaged file.
        """
        path = Path(directory)
        if not path.is_dir():
            raise RunError(f"{path}: no such run directory; cvr fit writes one into runs/")
        missing = []
        results = read_results(path) if (path / RESULTS).exists() else None
        scores = ScoreFile.read(path) if (path / SCORES).exists() else None
        config = _read_config(path / CONFIG) if (path / CONFIG).exists() else {}
        curves = read_curves(path)
        if results is None:
            missing.append(f"{path / RESULTS} ({_TESTS})")
        if scores is None:
            missing.append(f"{path / SCORES} ({_TESTS})")
        if not config:
            missing.append(f"{path / CONFIG} (cvr fit writes it)")
        if not curves:
            missing.append(f"{path / METRICS} (cvr fit writes it)")
        if results is None and scores is None and not curves and not config:
            raise RunError(f"{path}: holds nothing of a run ({RESULTS}, {SCORES}, {CONFIG}, {METRICS})")
        return cls(directory, results, scores, config, curves, tuple(missing))

    @property
    def data_root(self) -> Path | None:
        """Folder of the data set, None if the configuration does not name one."""
        stored = (self.results or {}).get("config", {})
        data = self.config.get("data") or stored.get("data")
        if not isinstance(data, Mapping):
            return None
        root = (data.get("init_args") or data).get("root")
        return None if root is None else Path(root)

    @property
    def table(self) -> VideoTable:
        """Scores ranked as in the test; only for a run with scores."""
        assert self.scores is not None
        scores, protocol = self.scores, (self.results or {}).get("protocol", {})
        return VideoTable(
            video=np.arange(len(scores.video)),
            label=scores.label,
            views=scores.views,
            logits=scores.logits,
            probabilities=scores.probabilities,
            unreadable=np.empty(0, np.int64),  # they have no scores
            averaging="logits" if protocol.get("averaging") == "logits" else "softmax",
        )


def short_names(directories: Sequence[str]) -> list[str]:
    """Paths of run directories without their common leading folders.

    Examples:
        >>> short_names(["runs/a/first", "runs/b/first"])
        ['a/first', 'b/first']
    """
    paths = [os.path.abspath(directory) for directory in directories]
    shared = os.path.commonpath([os.path.dirname(path) for path in paths])
    return [os.path.relpath(path, shared) for path in paths]


class _PlainLoader(yaml.SafeLoader):
    """Refuses aliases, with which a short file can expand to any size; cvr fit writes none."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("it holds an alias")
        return super().compose_node(parent, index)


def _read_config(path: Path) -> Mapping[str, Any]:
    try:
        config = yaml.load(read_text(path), _PlainLoader)
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise RunError(f"{path}: not a configuration ({error}); remove it from the run") from error
    if not isinstance(config, dict):
        raise RunError(f"{path}: not a configuration, which is a mapping; remove it from the run")
    return config


def read_curves(directory: Path) -> dict[str, npt.NDArray[np.float64]]:
    """(n, 2) step and value of each scalar of a run's ``metrics.csv``, in order of the steps.

    If a step was logged twice, as by a resumed run, the later value is returned.

    Raises:
        RunError: The file is damaged, or too large.
    """
    path = directory / METRICS
    points: dict[str, dict[int, float]] = {}
    if not path.exists():
        return {}
    try:
        with open_to_read(path) as file:
            TEXT_BYTES.check(os.fstat(file.fileno()).st_size)
            for row in csv.DictReader(TextIOWrapper(file, encoding="utf-8", newline="")):
                step = int(row.pop("step"))
                for tag, value in row.items():
                    if value and tag != "epoch":
                        points.setdefault(tag, {})[step] = float(value)
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
        raise RunError(f"{path}: not a file of metrics ({error!r}); remove it from the run") from error
    return {tag: np.array(sorted(values.items()), np.float64) for tag, values in points.items()}
