"""Packet indexes in an SQLite database, so that a reading process does not hold them in memory.

The database is in a folder of its own, marked by a tag file. The transaction of a killed process is rolled
back by the next one. Each record has a digest of name, size, modification time and data, since a damaged
database may return another one's.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import stat
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

from cvr_lightning.datamodules.errors import DatasetError
from cvr_lightning.files.atomic import atomic_path
from cvr_lightning.files.bounds import INDEX_BYTES
from cvr_lightning.files.regular import open_to_read

FORMAT = 3
"""Incremented when the format of the database changes."""
DATABASE = "index.sqlite"
_FILES = (DATABASE, *(f"{DATABASE}-{kind}" for kind in ("journal", "wal", "shm")))
_JOURNAL_NAMES_FILE = bytes.fromhex("d9d505f920a163d7")
"""End of a journal that names another one (https://sqlite.org/fileformat.html, 3); ours name none."""
TAG = "CACHEDIR.TAG"
"""Marks the folder as created by this package, and as a cache for backup tools (https://bford.info/cachedir)."""
_TAG_TEXT = """Signature: 8a477f597d28d172789f06886806bc55
# Packet indexes of cvr_lightning. This folder can be deleted at any time.
"""
_APPLICATION_ID = 0x63767269  # "cvri"
_SCHEMA = (
    "CREATE TABLE videos (name BLOB, size INTEGER, mtime INTEGER, digest BLOB, data BLOB)",
    "CREATE UNIQUE INDEX by_name ON videos (name, size, mtime)",  # covers the query of the states
)
_BUSY_SECONDS = 60.0
_UTF8 = ("utf-8", "surrogateescape")  # preserves file names that are not UTF-8


class FileState(NamedTuple):
    """Size of a file in bytes, and its modification time in ns."""

    size: int
    mtime: int


class Record(NamedTuple):
    """The stored data of a file."""

    name: str
    state: FileState
    data: bytes


class IndexStore:
    """The records in a folder; none if it does not exist or is not usable.

    Args:
        folder: The folder.
        versions: Versions that the data depend on, as plain values; a database of other versions is not used.

    Attributes:
        problem: Why the database is not usable; empty if it is, or if there is none.
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
        """Open the database in its present state."""
        self.problem = self._foreign_file()
        self._process = os.getpid()
        self._database, self._error = None, None
        if self.problem or not (self.folder / DATABASE).is_file():
            return
        try:
            try:
                database = self._connect("ro")
            except sqlite3.OperationalError:
                database = self._connect("rw")  # rolls back the transaction of a killed writer
            self.problem = self._problem(database)
        except sqlite3.OperationalError as error:  # locked, or temporarily unreadable
            self._error = error
        except sqlite3.DatabaseError as error:
            self.problem = f"is damaged ({error})"
        else:
            self._database = None if self.problem else database

    def _foreign_file(self) -> str:
        """What SQLite must not touch: it writes through links, and deletes the file that a journal names."""
        for name in _FILES:
            if os.path.lexists(self.folder / name) and not stat.S_ISREG(os.lstat(self.folder / name).st_mode):
                return f"is damaged ({name} is not a regular file)"
        try:
            with open_to_read(self.folder / f"{DATABASE}-journal") as journal:
                journal.seek(-min(len(_JOURNAL_NAMES_FILE), os.fstat(journal.fileno()).st_size), os.SEEK_END)
                names_file = journal.read() == _JOURNAL_NAMES_FILE
        except OSError:
            return ""
        return "is damaged (its journal names another file)" if names_file else ""

    def _connect(self, mode: str) -> sqlite3.Connection:
        location = f"{(self.folder / DATABASE).absolute().as_uri()}?mode={mode}"
        database = sqlite3.connect(location, _BUSY_SECONDS, check_same_thread=False, uri=True)
        database.execute("PRAGMA cell_size_check=ON")
        database.execute("SELECT 1 FROM sqlite_master").fetchone()  # opens the file
        return database

    def _problem(self, database: sqlite3.Connection) -> str:
        if not self._is_ours():
            return "was not written by cvr_lightning"
        if database.execute("PRAGMA application_id").fetchone() != (_APPLICATION_ID,):
            return "is damaged (its database is another program's)"
        if database.execute("PRAGMA user_version").fetchone() != (self._version,):
            return "was written by other versions of this package or of FFmpeg"
        # Refuse views and triggers, which would run code of the file in our queries.
        schema = [sql for (sql,) in database.execute("SELECT sql FROM sqlite_master LIMIT 3")]
        return "" if schema == list(_SCHEMA) else "is damaged (it has other tables)"

    def _is_ours(self) -> bool:
        try:
            with open_to_read(self.folder / TAG) as file:
                return file.read(len(_TAG_TEXT) + 1) == _TAG_TEXT.encode()
        except OSError:
            return False

    def _rows(self, query: str, values: Sequence[object]) -> Iterator[tuple[Any, ...]]:
        """Rows of a query; a forked process reopens the database, as SQLite requires."""
        if self._process != os.getpid():
            self._inherited = self._database  # keeps the parent's connection from being closed here
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
        """Size and modification time of the indexed files among these, as of their indexing.

        Args:
            names: At least one name. Consecutive names of a sorted list are fastest: all names between the
                first and the last are scanned.

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
        """The data of a file in this state; None if there are none.

        Raises:
            ValueError: The record is damaged.
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
        """Create the folder and write its tag, if it is new or empty.

        Raises:
            DatasetError: The folder holds other files; it is left unchanged.
            OSError: It cannot be written.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        names = sorted(path.name for path in self.folder.iterdir())
        foreign = [name for name in names if not name.startswith(f".{TAG}.")]  # of a concurrent process
        if self._is_ours():
            return
        if foreign:
            raise DatasetError(
                f"{self.folder} holds {foreign[0]} but no {TAG} of cvr_lightning, so no index is written "
                "there: name a new or an empty folder with --data.index_dir, or delete this one"
            )
        with atomic_path(self.folder / TAG) as unfinished:
            unfinished.write_text(_TAG_TEXT, encoding="ascii")

    def clear(self) -> None:
        """Remove an unusable database from a tagged folder.

        Raises:
            OSError: It cannot be removed.
        """
        for name in _FILES:
            (self.folder / name).unlink(missing_ok=True)
        self.open()

    def create(self) -> None:
        """Create an empty database in a tagged folder, unless there is one.

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
        """Insert records, replacing those of the same names, in one transaction.

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
