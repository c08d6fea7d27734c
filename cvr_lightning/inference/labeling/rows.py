"""Rows of the table: what a model says of the videos that were read."""

from __future__ import annotations

from collections.abc import Sequence

from cvr_lightning.inference.average import Scores
from cvr_lightning.inference.classify import Classifier
from cvr_lightning.inference.labeling.blocks import Reading
from cvr_lightning.inference.labeling.table import Columns, Row


def rows_of(
    classifier: Classifier, readings: Sequence[Reading], columns: Columns, batch_size: int
) -> list[Row]:
    """A row for each reading; those that are readable are scored together."""
    readable = [reading.views for reading in readings if not reading.error]
    scores = iter(classifier.score(readable, columns.embeddings, batch_size))
    rows: list[Row] = []
    for reading in readings:
        row: Row = {"file": reading.entry.name}
        if reading.span:
            row |= {"start": _rounded(reading.span[0]), "end": _rounded(reading.span[1])}
        if reading.error:
            rows.append(row | {"error": reading.error})
        else:
            prepared = any(clip.prepared for clip in reading.views)
            rows.append(row | _values(classifier, next(scores), columns) | {"prepared": prepared})
    return rows


def _values(classifier: Classifier, scores: Scores, columns: Columns) -> Row:
    """Columns of a labeled video."""
    row: Row = {}
    for rank, (name, probability) in enumerate(classifier.best(scores, columns.top), 1):
        ending = f"_{rank}" if rank > 1 else ""
        row |= {f"label{ending}": name, f"probability{ending}": _rounded(probability)}
    if columns.scores:
        row["scores"] = [_rounded(value) for value in scores.probabilities.tolist()]
    if scores.embedding is not None:
        row["embedding"] = [_rounded(value) for value in scores.embedding.tolist()]
    return row


def _rounded(value: float) -> float:
    """Seven significant digits, as float32 has them."""
    return float(f"{value:.7g}")
