"""Packet indexes in an SQLite database: half a million of them cost a reading process next to no memory.

The database lies in a folder of its own, which a tag marks as ours. A transaction in which a process was
killed is rolled back by the next one. A digest over name, size, modification time and data tells whether a
damaged database answers something else.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

from cvr_lightning.datamodules.errors import DatasetError
from cvr_lightning.files.atomic import atomic_path
from cvr_lightning.files.bounds import INDEX_BYTES

FORMAT = 2
"""Grows whenever the database means something else."""
DATABASE = "index.sqlite"
TAG = "CACHEDIR.TAG"
"""Marks the folder as ours, and as a cache that backups leave out (https://bford.info/cachedir)."""
_TAG_TEXT = """Signature: 8a477f597d28d172789f06886806bc55
# Packet indexes of cvr_lightning. This folder can be deleted at any time.
"""
_APPLICATION_ID = 0x63767269  # "cvri"
_SCHEMA = (
    "CREATE TABLE videos (name BLOB, size INTEGER, mtime INTEGER, digest BLOB, data BLOB)",
    "CREATE UNIQUE INDEX by_name ON videos (name, size, mtime)",  # states are read without the data
)
_BUSY_SECONDS = 60.0
_UTF8 = ("utf-8", "surrogateescape")  # file names that are no UTF-8 go through unchanged


class FileState(NamedTuple):
    """Bytes of a file and its modification time in ns."""

    size: int
    mtime: int


class Record(NamedTuple):
    """What is kept of one file."""

    name: str
    state: FileState
    data: bytes


class IndexStore:
    """The records of one folder; none where it does not exist or is of no use.

    Args:
        folder: The folder.
        versions: What the data depend on, as plain strings and numbers; records of others are of no use.

    Attributes:
        problem: Why what lies in the folder is of no use; empty where it is of use, or nothing lies there.
    """

    def __init__(self, folder: Path, versions: Mapping[str, object]) -> None:
        self.folder = folder
        text = json.dumps({"format": FORMAT, **versions}, sort_keys=True)
        (self._version,) = struct.unpack("<i", struct.pack("<I", zlib.crc32(text.encode())))
        self._inherited: sqlite3.Connection | None = None
        self._database: sqlite3.Connection | None = None
        self._error: sqlite3.OperationalError | None = None
        self.open()

    def open(self) -> None:
        """Look at the folder as it is now."""
        self.problem = ""
        self._process = os.getpid()
        self._database, self._error = None, None
        if not (self.folder / DATABASE).is_file():
            return
        try:
            try:
                database = self._connect("ro")
            except sqlite3.OperationalError:
                database = self._connect("rw")  # rolls back what a killed writer has begun
            self.problem = self._problem(database)
        except sqlite3.OperationalError as error:  # locked, or of a disk that cannot be read now
            self._error = error
        except sqlite3.DatabaseError as error:
            self.problem = f"is damaged ({error})"
        else:
            self._database = None if self.problem else database

    def _connect(self, mode: str) -> sqlite3.Connection:
        location = f"{(self.folder / DATABASE).absolute().as_uri()}?mode={mode}"
        database = sqlite3.connect(location, _BUSY_SECONDS, check_same_thread=False, uri=True)
        database.execute("PRAGMA cell_size_check=ON")
        database.execute("SELECT 1 FROM sqlite_master").fetchone()  # opens the file
        return database

    def _problem(self, database: sqlite3.Connection) -> str:
        if not self._is_ours():
            return "is not one of cvr_lightning"
        if database.execute("PRAGMA application_id").fetchone() != (_APPLICATION_ID,):
            return "is damaged (its database is another program's)"
        if database.execute("PRAGMA user_version").fetchone() != (self._version,):
            return "is of other versions of this package or of FFmpeg"
        # Exactly ours: no view or trigger that would compute what we ask for.
        schema = [sql for (sql,) in database.execute("SELECT sql FROM sqlite_master LIMIT 3")]
        return "" if schema == list(_SCHEMA) else "is damaged (its tables are not ours)"

    def _is_ours(self) -> bool:
        try:
            with (self.folder / TAG).open("rb") as file:
                return file.read(len(_TAG_TEXT) + 1) == _TAG_TEXT.encode()
        except OSError:
            return False

    def _rows(self, query: str, values: Sequence[object]) -> Iterator[tuple[Any, ...]]:
        """The answer to a query; a forked process opens the database anew, as SQLite demands."""
        if self._process != os.getpid():
            self._inherited = self._database  # the parent's, not ours to close
            self.open()
        if self._error is not None:
            raise self._error
        if self._database is None:
            return iter(())
        return self._database.execute(query, values)

    def __len__(self) -> int:
        """Number of records."""
        (count,) = next(self._rows("SELECT count(*) FROM videos", ()), (0,))
        return int(count)

    def states(self, names: Sequence[str]) -> dict[str, FileState]:
        """Size and modification time of the files when they were indexed, of those that were.

        Args:
            names: At least one; a part of a sorted list is found in one scan of what lies between its ends.

        Raises:
            sqlite3.Error: The database is damaged or locked.
        """
        keys = {name.encode(*_UTF8): name for name in names}
        query = "SELECT name, size, mtime FROM videos WHERE name BETWEEN ? AND ?"
        return {
            keys[key]: FileState(size, mtime)
            for key, size, mtime in self._rows(query, (min(keys), max(keys)))
            if key in keys
        }

    def read(self, name: str, state: FileState) -> bytes | None:
        """The data of a file; None where there are none, or those of another state of it.

        Raises:
            ValueError: They are damaged.
            sqlite3.Error: The database is damaged or locked.
        """
        key = name.encode(*_UTF8)
        query = (
            "SELECT digest, CASE WHEN length(data) <= ? THEN data END FROM videos "
            "WHERE name = ? AND size = ? AND mtime = ?"
        )
        rows = list(self._rows(query, (INDEX_BYTES.value, key, *state)))
        if not rows:
            return None
        digest, data = rows[0]
        if not isinstance(data, bytes) or digest != _digest(key, state, data):
            raise ValueError(f"the record of {name} has a wrong checksum")
        return data

    def tag(self) -> None:
        """Make the folder and mark it as ours, where it is new or empty.

        Raises:
            DatasetError: It holds what is not ours; nothing in it has been touched.
            OSError: It cannot be written.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        names = sorted(path.name for path in self.folder.iterdir())
        foreign = [name for name in names if not name.startswith(f".{TAG}.")]  # another process tags it
        if self._is_ours():
            return
        if foreign:
            raise DatasetError(
                f"{self.folder} holds {foreign[0]} and no {TAG} of cvr_lightning, so no index is written "
                "there: name a new or an empty folder with --data.index_dir, or delete this one"
            )
        with atomic_path(self.folder / TAG) as unfinished:
            unfinished.write_text(_TAG_TEXT, encoding="ascii")

    def clear(self) -> None:
        """Remove a database of no use from a folder that was tagged.

        Raises:
            OSError: It cannot be removed.
        """
        for name in (DATABASE, *(f"{DATABASE}-{kind}" for kind in ("journal", "wal", "shm"))):
            (self.folder / name).unlink(missing_ok=True)
        self.open()

    def create(self) -> None:
        """Make an empty database in a folder that was tagged, where there is none.

        Raises:
            sqlite3.Error: It cannot be written.
        """
        if self._database is None:
            with closing(self._connect("rwc")) as database:
                database.executescript(
                    f"BEGIN IMMEDIATE; PRAGMA application_id={_APPLICATION_ID};"
                    f"PRAGMA user_version={self._version}; {';'.join(_SCHEMA)}; COMMIT"
                )

    def write(self, records: Sequence[Record]) -> None:
        """Add records in place of those with the same names: all of them or, after a kill, none.

        Raises:
            sqlite3.Error: The disk is full, or the database cannot be written.
        """
        keys = [record.name.encode(*_UTF8) for record in records]
        rows = [
            (k, *r.state, _digest(k, r.state, r.data), r.data) for k, r in zip(keys, records, strict=True)
        ]
        with closing(self._connect("rw")) as database, database:
            database.executemany("DELETE FROM videos WHERE name = ?", [(key,) for key in keys])
            database.executemany("INSERT INTO videos VALUES (?, ?, ?, ?, ?)", rows)


def _digest(key: bytes, state: FileState, data: bytes) -> bytes:
    head = struct.pack("<qqq", len(key), *state)
    return hashlib.blake2b(head + key + data, digest_size=16).digest()
