"""Confusions and accuracy of each class, in the form that the template needs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from cvr_lightning.tools.report.run import Run

NO_SCORES = "no scores.npz; cvr test writes it"
_MATRIX = 25  # classes up to which the whole matrix is shown
_TOP = 15  # confusions listed beyond that


def confusion(run: Run) -> dict[str, Any]:
    """The confusion matrix of a run; with many classes, the most frequent confusions instead."""
    if run.scores is None:
        return {"missing": NO_SCORES}
    counts = run.table.confusion_matrix()
    if not counts.sum():
        return {"missing": "none of its videos has a label"}
    names = [str(name) for name in run.scores.class_names]
    found = {"missing": "", "right": int(counts.trace()), "videos": int(counts.sum()), "names": names}
    if len(names) > _MATRIX:
        return {**found, "rows": [], "top": _top_confusions(counts, names)}
    rows = [{"name": name, "cells": _cells(counts[row], row, names)} for row, name in enumerate(names)]
    return {**found, "rows": rows, "top": []}


def _cells(counts: Any, row: int, names: Sequence[str]) -> list[dict[str, Any]]:
    total = max(int(counts.sum()), 1)
    return [
        {
            "videos": int(count),
            "percent": round(100 * int(count) / total),
            "is_right": row == column,
            "about": f"{names[row]} predicted as {names[column]}: {count} of {total}",
        }
        for column, count in enumerate(counts)
    ]


def _top_confusions(counts: Any, names: Sequence[str]) -> list[list[str]]:
    """True class, predicted class and videos of the most frequent confusions."""
    wrong = counts * (1 - np.eye(len(counts), dtype=counts.dtype))
    order = np.argsort(-wrong, axis=None, kind="stable")[:_TOP]
    places = [divmod(int(place), len(counts)) for place in order]
    return [
        [names[row], names[column], f"{wrong[row, column]} of {counts[row].sum()}"]
        for row, column in places
        if wrong[row, column]
    ]


def class_rows(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Accuracy of each class in each run with scores, sorted by that of the first run."""
    cells: dict[str, list[tuple[int, int] | None]] = {}
    for place, run in enumerate(runs):
        counts = run.table.confusion_matrix()
        assert run.scores is not None
        for index, name in enumerate(run.scores.class_names):
            row = cells.setdefault(str(name), [None] * len(runs))
            row[place] = int(counts[index, index]), int(counts[index].sum())
    order = sorted(cells, key=lambda name: _fraction(cells[name][0]))
    return [{"name": name, "cells": [_accuracy(cell) for cell in cells[name]]} for name in order]


def _fraction(cell: tuple[int, int] | None) -> float:
    """Fraction of correct videos; above 1 without videos, to sort the class last."""
    return cell[0] / cell[1] if cell is not None and cell[1] else 2.0


def _accuracy(cell: tuple[int, int] | None) -> dict[str, Any]:
    if cell is None:
        return {"percent": None, "text": "not a class of this run"}
    right, videos = cell
    if not videos:
        return {"percent": None, "text": "no video"}
    percent = f"{100 * right / videos:.1f}"
    return {"percent": percent, "text": f"{percent} % ({right} of {videos})"}
