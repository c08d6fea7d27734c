"""Reads a run directory and lists its missing files."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from cvr_lightning.errors import RunError, UserError
from cvr_lightning.evaluation.results import FILE_NAME as RESULTS
from cvr_lightning.evaluation.results import read_results
from cvr_lightning.evaluation.score_file import FILE_NAME as SCORES
from cvr_lightning.evaluation.score_file import ScoreFile
from cvr_lightning.evaluation.video_table import VideoTable
from cvr_lightning.files.bounds import EVENT_BYTES, TEXT_BYTES, read_text

CONFIG = "config.yaml"
_POINTS = 100_000
"""Of a curve that are read; TensorBoard draws them by lot from more."""
_UNREAD = dict.fromkeys(("images", "audio", "histograms", "compressedHistograms", "tensors"), 1)
"""How many of the others are kept, at least one."""
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
            missing.append(f"{path}/events.out.tfevents* or metrics.csv with scalars (cvr fit writes them)")
        if results is None and scores is None and not curves and not config:
            raise RunError(f"{path}: holds nothing of a run ({RESULTS}, {SCORES}, {CONFIG}, events)")
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
    """The paths of run directories without the folders that all of them begin with.

    Examples:
        >>> short_names(["runs/a/first", "runs/b/first"])
        ['a/first', 'b/first']
    """
    paths = [os.path.abspath(directory) for directory in directories]
    shared = os.path.commonpath([os.path.dirname(path) for path in paths])
    return [os.path.relpath(path, shared) for path in paths]


class _PlainLoader(yaml.SafeLoader):
    """Refuses aliases, which unfold a short file to any size; cvr fit writes none."""

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
    """Scalars written by TensorBoard or CSVLogger: (n, 2) step and value of each, sorted by step.

    Reads the directory's event files and every ``metrics.csv`` below it. If a step was logged twice, as by a
    resumed run, the later value counts.

    Raises:
        RunError: A file is damaged, or too large.
    """
    points: dict[str, dict[int, float]] = {}
    for file in sorted(directory.rglob("metrics.csv")):
        for tag, step, value in _csv_scalars(file):
            points.setdefault(tag, {})[step] = value
    for file in sorted(directory.glob("events.out.tfevents*")):
        for tag, values in _event_scalars(file).items():
            points.setdefault(tag, {}).update(values)
    return {tag: np.array(sorted(values.items()), np.float64) for tag, values in points.items()}


def _event_scalars(path: Path) -> dict[str, dict[int, float]]:
    """Name, steps and values of what TensorBoard wrote; of a longer curve, a sample."""
    try:
        EVENT_BYTES.check(path.stat().st_size)
        events = EventAccumulator(str(path), size_guidance={**_UNREAD, "scalars": _POINTS})
        events.Reload()
        return {
            tag: {event.step: float(event.value) for event in events.Scalars(tag)}
            for tag in events.Tags()["scalars"]
        }
    except UserError:
        raise
    except Exception as error:  # TensorBoard and protobuf raise whatever they meet
        raise RunError(f"{path}: not a file of events ({error!r:.200}); remove it from the run") from error


def _csv_scalars(path: Path) -> Iterator[tuple[str, int, float]]:
    """Name, step and value of each scalar of CSVLogger."""
    try:
        TEXT_BYTES.check(path.stat().st_size)
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                step = int(row.pop("step"))
                yield from (
                    (tag, step, float(value)) for tag, value in row.items() if value and tag != "epoch"
                )
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
        raise RunError(f"{path}: not a file of CSVLogger ({error!r}); remove it from the run") from error
