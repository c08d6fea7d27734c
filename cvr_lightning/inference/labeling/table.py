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
from cvr_lightning.files.printable import csv_text

Row = dict[str, Any]
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

    def kinds(self) -> dict[str, type]:
        """Types of the columns by name, in order; lists are of numbers."""
        kinds: dict[str, type] = {"file": str}
        if self.spans:
            kinds |= {"start": float, "end": float}
        for rank in range(1, self.top + 1):
            ending = f"_{rank}" if rank > 1 else ""
            kinds |= {f"label{ending}": str, f"probability{ending}": float}
        if self.scores:
            kinds["scores"] = list
        if self.embeddings:
            kinds["embedding"] = list
        return {**kinds, "prepared": bool, "error": str}

    def fit(self, row: Any) -> bool:
        """Whether a row, read from a file, has these columns."""
        kinds = self.kinds()
        if not isinstance(row, dict) or "file" not in row:
            return False
        if not all(type(value) is kinds.get(name) for name, value in row.items()):
            return False
        lists = (row[name] for name, kind in kinds.items() if kind is list and name in row)
        return all(type(number) is float for numbers in lists for number in numbers)


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
    names = list(columns.kinds())
    with path.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
        table = csv.writer(file)
        table.writerow(names)
        for row in rows:
            table.writerow([_cell(name, row.get(name)) for name in names])


def _cell(name: str, value: Any) -> Any:
    if isinstance(value, str):
        return csv_text(value, "./" if name == "file" else "'")
    return json.dumps(value) if isinstance(value, list) else value


def _write_parquet(path: Path, rows: Iterable[Row], columns: Columns, class_names: Sequence[str]) -> None:
    import pyarrow
    from pyarrow import parquet

    kinds = {
        str: pyarrow.string(),
        float: pyarrow.float32(),
        bool: pyarrow.bool_(),
        list: pyarrow.list_(pyarrow.float32()),
    }
    fields = [(name, kinds[kind]) for name, kind in columns.kinds().items()]
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
