"""One labeling run: sources to blocks, blocks to rows, rows to the table."""

from __future__ import annotations

import contextlib
import hashlib
import sys
from collections.abc import Generator, Iterable
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from cvr_lightning.errors import RunError
from cvr_lightning.files.left_out import LeftOut
from cvr_lightning.files.lock import hold
from cvr_lightning.files.printable import shown
from cvr_lightning.inference.classify import Classifier
from cvr_lightning.inference.labeling import on_ray
from cvr_lightning.inference.labeling.blocks import Block, How, blocks, read_ahead
from cvr_lightning.inference.labeling.journal import Journal
from cvr_lightning.inference.labeling.options import Options
from cvr_lightning.inference.labeling.rows import rows_of
from cvr_lightning.inference.labeling.table import Row, check_output, write_table


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
        left_out = LeftOut()
        total = sum(1 for _ in options.entries(left_out))
        if left_out:
            print(shown(f"cvr label: {left_out}"), file=sys.stderr)
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
    bar = tqdm(total=total, initial=done, desc="label", unit="video", smoothing=0.05)
    label_blocks = _label_blocks if options.ray is None else on_ray.label_blocks
    with bar, contextlib.closing(label_blocks(classifier, pending, options)) as finished:
        for block, rows in finished:
            journal.append(block, rows)
            bar.update(len(block.entries))
            for row in rows:
                if "error" in row:
                    bar.write(shown(f"cvr label: {row['error']}"), file=sys.stderr)


def _label_blocks(
    classifier: Classifier, pending: Iterable[Block], options: Options
) -> Generator[tuple[Block, list[Row]], None, None]:
    """Yield each finished block with its rows: processes read, this one scores."""
    how = How(classifier.sampling, options.every)
    rows: dict[int, list[Row]] = {}  # of the blocks at work
    with contextlib.closing(read_ahead(pending, how, options.workers)) as parts:
        for block, readings, first, last in parts:
            if first:
                rows[block.number] = []
            rows[block.number] += rows_of(classifier, readings, options.columns, options.batch_size)
            if last:
                yield block, rows.pop(block.number)


def _summary(journal: Journal) -> Summary:
    rows = failed = prepared = 0
    for row in journal.rows():
        rows += 1
        failed += "error" in row
        prepared += row.get("prepared", False)
    return Summary(rows, failed, prepared)
