"""Score fusion: weighted mean of the scores of several runs on the same videos."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from cvr_lightning.errors import RunError
from cvr_lightning.evaluation.formats import Table
from cvr_lightning.evaluation.results import FILE_NAME as RESULTS
from cvr_lightning.evaluation.results import accuracy_text, read_results, refuse_limited
from cvr_lightning.evaluation.score_file import ScoreFile
from cvr_lightning.evaluation.video_table import Averaging, Floats, top_k


def fuse(
    runs: Sequence[str], weights: Sequence[float] = (), averaging: Averaging = "softmax"
) -> dict[str, Any]:
    """Accuracies of the fused scores and of each run.

    Args:
        runs: Run directories with a ``scores.npz`` of the same videos.
        weights: One per run, normalized to sum 1; equal if empty.
        averaging: What is fused: class probabilities or logits.

    Returns:
        ``averaging``, ``videos``, ``unreadable``, ``runs`` with their weights, and ``fused``.

    Raises:
        RunError: A run has no scores, the weights do not fit, or classes, videos or labels differ; the
            message names the difference.
    """
    normalized = _normalized(runs, weights)
    for run in runs:
        if (Path(run) / RESULTS).exists():
            refuse_limited(run, read_results(run))
    files = [_in_order(ScoreFile.read(run)) for run in runs]
    for run, file in zip(runs[1:], files[1:], strict=True):
        _refuse_difference(runs[0], files[0], run, file)
    unreadable = sorted({str(name) for file in files for name in file.unreadable})
    scores = [file.probabilities if averaging == "softmax" else file.logits for file in files]

    def accuracies(values: Floats) -> dict[str, float | None]:
        found = {f"top{k}": top_k(values, files[0].label, k) for k in (1, 5)}
        of_all = {f"top{k}_all": top_k(values, files[0].label, k, missing=len(unreadable)) for k in (1, 5)}
        return found | of_all

    fused = sum((weight * values for weight, values in zip(normalized, scores, strict=True)), np.float32(0))
    return {
        "averaging": averaging,
        "videos": len(files[0].video),
        "unreadable": unreadable,
        "runs": [
            {"run": run, "weight": weight, **accuracies(values)}
            for run, weight, values in zip(runs, normalized, scores, strict=True)
        ],
        "fused": accuracies(np.asarray(fused, np.float32)),
    }


def _normalized(runs: Sequence[str], weights: Sequence[float]) -> list[float]:
    if len(runs) < 2:
        raise RunError(f"score fusion needs several runs: add another to {runs[0]}")
    weights = weights or [1.0] * len(runs)
    if len(weights) != len(runs):
        raise RunError(f"{len(weights)} weights for {len(runs)} runs: give one per run, in the same order")
    if min(weights) < 0 or not 0 < sum(weights) < float("inf"):
        raise RunError(f"weights {list(weights)} must not be negative, and not all 0")
    return [weight / sum(weights) for weight in weights]


def _in_order(file: ScoreFile) -> ScoreFile:
    """The scores sorted by video name."""
    order = np.argsort(file.video)
    per_video = ("video", "label", "views", "logits", "probabilities")
    return replace(file, **{name: getattr(file, name)[order] for name in per_video})


def _refuse_difference(run: str, file: ScoreFile, other: str, others: ScoreFile) -> None:
    def refuse(problem: str) -> NoReturn:
        raise RunError(f"{run} and {other} cannot be fused: {problem}")

    for kind, names, more in (
        ("classes", file.class_names, others.class_names),
        ("videos", file.video, others.video),
    ):
        for holder, alone in ((run, np.setdiff1d(names, more)), (other, np.setdiff1d(more, names))):
            if len(alone):
                refuse(f"{len(alone)} {kind} are only in {holder}, such as {alone[0]}")
        if not np.array_equal(names, more):
            refuse(f"their {kind} differ in order, or contain duplicates")
    differing = np.flatnonzero(file.label != others.label)
    if len(differing):
        refuse(f"the labels of {file.video[differing[0]]} differ")


def fusion_table(fused: dict[str, Any]) -> Table:
    """The result of :func:`fuse` as a table."""
    rows = [["", "weight", "top-1", "top-5"]]
    for run in fused["runs"]:
        rows.append([run["run"], f"{run['weight']:.3f}", accuracy_text(run, 1), accuracy_text(run, 5)])
    name = f"fused, mean of {fused['averaging']}"
    rows.append([name, "", accuracy_text(fused["fused"], 1), accuracy_text(fused["fused"], 5)])
    records = [*fused["runs"], {"run": "fused", **fused["fused"]}]
    return Table(rows, rows, records, fused)
