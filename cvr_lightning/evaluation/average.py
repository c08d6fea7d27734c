"""Mean accuracy over the official splits of a data set, such as UCF-101's."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from typing import Any

from cvr_lightning.errors import RunError
from cvr_lightning.evaluation.formats import Table
from cvr_lightning.evaluation.results import (
    ACCURACIES,
    accuracy_text,
    read_results,
    refuse_limited,
    videos_text,
)

SHOWN = (*ACCURACIES, "videos", "subset_videos", "unreadable", "missing")
"""Values that are listed for each run."""


def average(runs: Sequence[str]) -> dict[str, Any]:
    """Mean and standard deviation (n - 1) of the accuracies of runs over different splits.

    Args:
        runs: Run directories.

    Returns:
        ``protocol`` (common to the runs), ``runs``, ``mean`` and ``std``; the latter are None for accuracies
        that a run lacks.

    Raises:
        RunError: A run has no results, no split, a repeated split, or another protocol; the message names the
            difference.
    """
    if len(runs) < 2:
        raise RunError(f"the mean over splits needs several runs: add those of the other splits to {runs[0]}")
    results = [read_results(run) for run in runs]
    for run, result in zip(runs, results, strict=True):
        refuse_limited(run, result)
    protocols = [dict(result["protocol"]) for result in results]
    splits = [protocol.pop("split", None) for protocol in protocols]
    for run, split, protocol in zip(runs, splits, protocols, strict=True):
        if split is None:
            raise RunError(f"{run} was tested on {protocol['dataset']}, which has no splits")
        _refuse_difference(runs[0], protocols[0], run, protocol)
    _refuse_repetition(runs, splits)
    return {
        "protocol": protocols[0],
        "runs": [
            {"run": run, "split": split, **{name: result.get(name) for name in SHOWN}}
            for run, split, result in zip(runs, splits, results, strict=True)
        ],
        "mean": {name: _over_runs(statistics.fmean, results, name) for name in ACCURACIES},
        "std": {name: _over_runs(statistics.stdev, results, name) for name in ACCURACIES},
    }


def _over_runs(
    function: Callable[[list[float]], float], results: Sequence[dict[str, Any]], name: str
) -> float | None:
    values = [result[name] for result in results]
    return None if None in values else function(values)


def _refuse_repetition(runs: Sequence[str], splits: Sequence[Any]) -> None:
    first: dict[Any, str] = {}
    for run, split in zip(runs, splits, strict=True):
        if split in first:
            raise RunError(f"{first[split]} and {run} both tested split {split}: keep one")
        first[split] = run


def _refuse_difference(run: str, protocol: dict[str, Any], other: str, others: dict[str, Any]) -> None:
    for name in protocol | others:
        if protocol.get(name) != others.get(name):
            raise RunError(
                f"{run} and {other} cannot be averaged: they differ in {name}: "
                f"{protocol.get(name)!r} and {others.get(name)!r}"
            )


def average_table(averaged: dict[str, Any]) -> Table:
    """The result of :func:`average` as a table."""
    rows = [["", "split", "videos", "top-1", "top-5"]]
    for run in averaged["runs"]:
        rows.append(
            [run["run"], str(run["split"]), videos_text(run), accuracy_text(run, 1), accuracy_text(run, 5)]
        )
    for name in ("mean", "std"):
        rows.append([name, "", "", accuracy_text(averaged[name], 1), accuracy_text(averaged[name], 5)])
    records = [run | {"unreadable": len(run["unreadable"])} for run in averaged["runs"]]
    records += [{"run": name, **averaged[name]} for name in ("mean", "std")]
    return Table(rows, rows, records, averaged)
