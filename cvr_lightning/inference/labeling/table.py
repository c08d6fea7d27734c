"""The table of labels as parquet, CSV or JSON lines."""

from __future__ import annotations

import csv
import importlib.util
import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from cvr_lightning.errors import RunError
from cvr_lightning.files.atomic import atomic_path
from cvr_lightning.inference.labeling.journal import Row

SUFFIXES = (".parquet", ".csv", ".jsonl")
_GROUP = 10_000
"""Rows of a parquet group: what is held in memory."""


class Columns(NamedTuple):
    """What a row holds beside the file, whether it was prepared in memory, and the error.

    Attributes:
        top: Number of most likely classes.
        scores: The probability of every class.
        embeddings: The features before the head.
        spans: Start and end in seconds.
    """

    top: int = 5
    scores: bool = False
    embeddings: bool = False
    spans: bool = False

    def names(self) -> list[str]:
        """Names of the columns, in order."""
        ranks = [f"_{rank}" if rank > 1 else "" for rank in range(1, self.top + 1)]
        return [
            "file",
            *(["start", "end"] if self.spans else []),
            *(f"{name}{rank}" for rank in ranks for name in ("label", "probability")),
            *(["scores"] if self.scores else []),
            *(["embedding"] if self.embeddings else []),
            "prepared",
            "error",
        ]


COLUMNS = Columns()


def check_output(path: Path) -> None:
    """Check the suffix of the output, and that its library is there.

    Raises:
        RunError: Another suffix, or pyarrow is not installed.
    """
    if path.suffix not in SUFFIXES:
        raise RunError(f"{path}: the output must end in {', '.join(SUFFIXES)}")
    if path.suffix == ".parquet" and importlib.util.find_spec("pyarrow") is None:
        raise RunError(f"{path}: parquet needs pyarrow: pip install 'cvr-lightning[parquet]', or give a .csv")


def write_table(path: Path, rows: Iterable[Row], columns: Columns, class_names: Sequence[str]) -> None:
    """Write the table atomically, with a bounded number of rows in memory.

    Raises:
        OutputError: It cannot be written.
    """
    with atomic_path(path) as unfinished:
        if path.suffix == ".parquet":
            _write_parquet(unfinished, rows, columns, class_names)
        elif path.suffix == ".csv":
            _write_csv(unfinished, rows, columns)
        else:
            with unfinished.open("w", encoding="utf-8") as file:
                file.writelines(json.dumps(row) + "\n" for row in rows)


def _write_csv(path: Path, rows: Iterable[Row], columns: Columns) -> None:
    names = columns.names()
    with path.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
        table = csv.writer(file)
        table.writerow(names)
        for row in rows:
            values = (row.get(name) for name in names)
            table.writerow([json.dumps(v) if isinstance(v, list) else v for v in values])


def _write_parquet(path: Path, rows: Iterable[Row], columns: Columns, class_names: Sequence[str]) -> None:
    import pyarrow
    from pyarrow import parquet

    text, number, numbers = pyarrow.string(), pyarrow.float32(), pyarrow.list_(pyarrow.float32())
    kinds = {"file": text, "error": text, "scores": numbers, "embedding": numbers}
    kinds["prepared"] = pyarrow.bool_()
    others = {name: text if name.startswith("label") else number for name in columns.names()}
    fields = [(name, kinds.get(name, others[name])) for name in columns.names()]
    schema = pyarrow.schema(fields, metadata={"class_names": json.dumps(list(class_names))})
    with parquet.ParquetWriter(path, schema) as writer:
        for group in _groups(rows):
            writer.write_table(pyarrow.Table.from_pylist([_storable(row) for row in group], schema))


def _groups(rows: Iterable[Row]) -> Iterator[list[Row]]:
    waiting = iter(rows)
    while group := list(islice(waiting, _GROUP)):
        yield group


def _storable(row: Row) -> dict[str, Any]:
    """File names that are not UTF-8 have their bytes escaped."""
    return {
        name: value.encode(errors="backslashreplace").decode() if isinstance(value, str) else value
        for name, value in row.items()
    }
