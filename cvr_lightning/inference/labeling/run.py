"""One labeling run: sources to blocks, blocks to rows, rows to the table."""

from __future__ import annotations

import contextlib
import hashlib
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from cvr_lightning.errors import RunError
from cvr_lightning.files.lock import hold
from cvr_lightning.files.printable import shown
from cvr_lightning.inference.average import Scores
from cvr_lightning.inference.classify import Classifier
from cvr_lightning.inference.labeling.blocks import How, Reading, blocks, read_ahead
from cvr_lightning.inference.labeling.journal import Journal
from cvr_lightning.inference.labeling.sources import Entry, expand
from cvr_lightning.inference.labeling.table import COLUMNS, Columns, Row, check_output, write_table


@dataclass(frozen=True)
class Options:
    """Options of a run.

    Attributes:
        sources: Files, folders, lists, globs, tar files or URLs.
        output: The table; its suffix chooses the format.
        columns: What a row holds.
        batch_size: Videos in a block.
        workers: Reading processes.
        job: Which of several jobs this is, counted from 1, and their number.
        every: Label parts of so many seconds instead of whole videos.
    """

    sources: tuple[str, ...]
    output: Path
    columns: Columns = COLUMNS
    batch_size: int = 8
    workers: int = 1
    job: tuple[int, int] = (1, 1)
    every: float | None = None

    @property
    def size(self) -> int:
        """Videos of a block; one that is labeled in parts fills a block."""
        return self.batch_size if self.every is None else 1

    @property
    def table(self) -> Path:
        """The output of this job."""
        number, count = self.job
        if count == 1:
            return self.output
        return self.output.with_stem(f"{self.output.stem}-{number:05d}-of-{count:05d}")

    def entries(self) -> Iterator[Entry]:
        """The videos of this job."""
        return islice(expand(self.sources), self.job[0] - 1, None, self.job[1])


class Summary(NamedTuple):
    """Counts of a run: rows, those without a label, and those prepared in memory."""

    rows: int
    failed: int
    prepared: int


def label(classifier: Classifier, checkpoint: Path, options: Options) -> Summary:
    """Label the videos and write the table; an interrupted run is continued.

    Raises:
        RunError: The output exists, or cannot be continued with these options.
        OutputError: It cannot be written.
        InUseError: Another process writes it.
    """
    check_output(options.table)
    table = options.table
    partial = table.with_name(f"{table.name}.partial")
    with hold(table.parent, f".{table.name}.lock"):
        if table.exists() and not partial.exists():
            raise RunError(f"{table} exists; give another --output, or delete it")
        total = sum(1 for _ in options.entries())
        with Journal(partial, _settings(classifier, checkpoint, options), options.columns) as journal:
            journal.check(-(-total // options.size))
            _score(classifier, options, journal, total)
            write_table(table, journal.rows(), options.columns, classifier.class_names)
            summary = _summary(journal)
        partial.unlink()
    return summary


def _settings(classifier: Classifier, checkpoint: Path, options: Options) -> dict[str, object]:
    """What rows depend on."""
    digest = hashlib.sha256()
    with checkpoint.open("rb") as file:
        while part := file.read(1 << 20):
            digest.update(part)
    return {
        "checkpoint": digest.hexdigest(),
        "columns": options.columns._asdict(),
        "batch_size": options.batch_size,
        "job": list(options.job),
        "every": options.every,
        "precision": str(classifier.dtype),
    }


def _score(classifier: Classifier, options: Options, journal: Journal, total: int) -> None:
    pending = (block for block in blocks(options.entries(), options.size) if not journal.has(block))
    done = min(total, len(journal) * options.size)
    how = How(classifier.sampling, options.every)
    rows: dict[int, list[Row]] = {}  # of the blocks at work
    bar = tqdm(total=total, initial=done, desc="label", unit="video", smoothing=0.05)
    with bar, contextlib.closing(read_ahead(pending, how, options.workers)) as parts:
        for block, readings, first, last in parts:
            if first:
                rows[block.number] = []
            rows[block.number] += _rows(classifier, readings, options)
            if last:
                journal.append(block, rows.pop(block.number))
                bar.update(len(block.entries))
            for reading in readings:
                if reading.error:
                    bar.write(shown(f"cvr label: {reading.error}"), file=sys.stderr)


def _rows(classifier: Classifier, readings: Sequence[Reading], options: Options) -> list[Row]:
    """A row for each reading."""
    columns = options.columns
    readable = [reading.views for reading in readings if not reading.error]
    scores = iter(classifier.score(readable, columns.embeddings, options.batch_size))
    rows: list[Row] = []
    for reading in readings:
        row: Row = {"file": reading.entry.name}
        if reading.span:
            row |= {"start": _rounded(reading.span[0]), "end": _rounded(reading.span[1])}
        if reading.error:
            rows.append(row | {"error": reading.error})
        else:
            rows.append(row | _values(classifier, next(scores), columns) | {"prepared": reading.prepared})
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


def _summary(journal: Journal) -> Summary:
    rows = failed = prepared = 0
    for row in journal.rows():
        rows += 1
        failed += "error" in row
        prepared += row.get("prepared", False)
    return Summary(rows, failed, prepared)
