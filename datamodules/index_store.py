"""Records on the disk, found by key: half a million of them cost a reading process next to no memory.

A folder of two files. ``table`` is a header and five columns of integers with a row for each record, sorted
by key; all processes of a machine map the same pages, and a writer replaces it as a whole. ``records-*``
holds the records one behind the other and only grows. Rows refer to what was written before them, so neither
a reader nor the successor of a killed writer meets half a record.
"""

from __future__ import annotations

import json
import os
import secrets
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt

from cvr_lightning.files.atomic import atomic_path

FORMAT = 1
"""Grows whenever the two files mean something else."""
_HEADER_BYTES = 1024
_COLUMNS = 5


class Record(NamedTuple):
    """What is known of one file: its key, its size, its modification time in ns, and the data kept of it."""

    key: int
    size: int
    mtime: int
    data: bytes


class IndexStore:
    """The records of one folder; none where it does not exist or is of no use.

    Args:
        folder: The folder.
        versions: What the data depend on, as plain strings and numbers; records of others are of no use.

    Attributes:
        keys: (N,) int64, ascending.
        sizes: (N,) int64, bytes of the files.
        mtimes: (N,) int64, modification times of the files in ns.
        problem: Why what lies in the folder is of no use; empty where it is of use, or nothing lies there.
    """

    def __init__(self, folder: Path, versions: Mapping[str, object]) -> None:
        self.folder = folder
        self._versions = {"format": FORMAT, **versions}
        self.open()

    def open(self) -> None:
        """Look at the folder as it is now."""
        self.problem = ""
        self._file: BinaryIO | None = None
        self._set_rows(np.empty((_COLUMNS, 0), np.int64))
        try:
            self._load()
        except (FileNotFoundError, NotADirectoryError):
            pass
        except OSError as error:
            self.problem = f"cannot be read ({error.strerror})"
        except (KeyError, TypeError, ValueError) as error:
            self.problem = f"is damaged ({error})"

    def _load(self) -> None:
        table = self.folder / "table"
        with table.open("rb") as file:
            header = json.loads(file.read(_HEADER_BYTES))
        if header["versions"] != self._versions:
            self.problem = f"is of other versions ({header['versions']}, now {self._versions})"
            return
        # Plain arrays: numpy takes longer to index its own class for maps.
        rows = np.asarray(np.memmap(table, "<i8", "r", _HEADER_BYTES, (_COLUMNS, header["rows"])))
        if zlib.crc32(rows.data) != header["checksum"]:
            raise ValueError("wrong checksum")
        records = self.folder / header["records"]
        if not records.is_file() or records.stat().st_size < rows[-1].max():
            raise ValueError(f"{records.name} is cut short or missing")
        self._file = records.open("rb", buffering=0)
        self._set_rows(rows)

    def _set_rows(self, rows: npt.NDArray[np.int64]) -> None:
        self._rows = rows
        self.keys, self.sizes, self.mtimes, self._starts, self._ends = rows

    def __len__(self) -> int:
        """Number of records."""
        return len(self.keys)

    def find(self, keys: npt.NDArray[np.int64]) -> npt.NDArray[np.intp]:
        """The row of each key, -1 where there is none."""
        if not len(self):
            return np.full(len(keys), -1)
        rows = np.minimum(np.searchsorted(self.keys, keys), len(self) - 1)
        return np.where(self.keys[rows] == keys, rows, -1)

    def read(self, row: int) -> bytes:
        """The data of a row; fewer bytes where the file has been cut since."""
        assert self._file is not None
        start, end = int(self._starts[row]), int(self._ends[row])
        # Not mapped: the pages of a map that one worker alone has touched count as its own memory.
        return os.pread(self._file.fileno(), end - start, start)

    def write(self, records: Sequence[Record]) -> None:
        """Add records, at least one, in place of those with the same keys.

        Whatever is of no use in the folder is removed. Only one process may write at a time.

        Raises:
            OSError: The disk is full, or the folder cannot be written.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        path = Path(self._file.name) if self._file else self.folder / f"records-{secrets.token_hex(4)}"
        ends = np.cumsum([self._ends.max(initial=0), *(len(record.data) for record in records)])
        with path.open("r+b" if self._file else "xb") as file:
            file.seek(ends[0])  # what lies beyond is of a writer that was killed
            file.writelines(record.data for record in records)
            file.truncate()
        columns = np.array([record[:3] for record in records], np.int64).T
        self._write_table(path.name, self._merged(np.stack([*columns, ends[:-1], ends[1:]])))
        for other in self.folder.glob("records-*"):
            if other != path:
                other.unlink()
        self.open()

    def _merged(self, added: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """All rows, sorted by key."""
        replaced = self.find(added[0])
        kept = np.delete(self._rows, replaced[replaced >= 0], axis=1)
        rows = np.concatenate([kept, added], axis=1)
        return np.ascontiguousarray(rows[:, np.argsort(rows[0])])

    def _write_table(self, records: str, rows: npt.NDArray[np.int64]) -> None:
        header = {
            "versions": self._versions,
            "records": records,
            "rows": rows.shape[1],
            "checksum": zlib.crc32(rows.data),
        }
        with atomic_path(self.folder / "table") as unfinished, unfinished.open("wb") as file:
            file.write(json.dumps(header).encode().ljust(_HEADER_BYTES))
            file.write(rows.astype("<i8").data)
