"""Packet indexes of a data set's videos: created once by several processes and stored beside the videos."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import sqlite3
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import av
from tqdm import tqdm

from cvr_lightning.codec.container.demux import Demuxer
from cvr_lightning.codec.container.index import INDEX_VERSION, PacketIndex
from cvr_lightning.codec.errors import (
    FETCH_AGAIN,
    BitstreamError,
    UnreadableVideoError,
    UnsupportedStreamError,
    VideoError,
)
from cvr_lightning.codec.scan import build_index
from cvr_lightning.datamodules.index_store import FileState, IndexStore, Record
from cvr_lightning.files import pool
from cvr_lightning.files.bounds import parse_json
from cvr_lightning.files.regular import open_to_append

log = logging.getLogger(__name__)

CHUNK = 2000
"""Videos per write, and so the most that a killed build loses."""
_VIDEOS_PER_WORKER = 64  # in the 0.7 s in which another process starts, about as many are indexed
_STAT_THREADS = 16  # network file systems serve many requests at a time
_INDEX, _ERROR = b"i", b"e"  # first byte of a record: what follows
_ERROR_FIELDS = 6  # of a VideoError, besides the path
_ERRORS: dict[str, type[VideoError]] = {
    kind.__name__: kind for kind in (VideoError, UnreadableVideoError, UnsupportedStreamError, BitstreamError)
}


class IndexCache:
    """The packet indexes of the videos below a folder, or the error of each video that has none.

    An entry is valid while its file keeps the size and modification time that it had when indexed; the whole
    cache, while the versions of the index format and of FFmpeg stay the same. Pickles its arguments only.

    Args:
        root: Folder that the names are relative to.
        folder: Folder of the cache; created by :meth:`update`.
        writable: Replace a damaged record as soon as it is found.
    """

    def __init__(self, root: Path, folder: Path, writable: bool = False) -> None:
        self.root = root
        self.folder = folder
        self.writable = writable
        self._store = IndexStore(folder, index_versions())
        self._warned = False

    def __reduce__(self) -> tuple[Any, ...]:
        return IndexCache, (self.root, self.folder, self.writable)

    def __len__(self) -> int:
        """Number of videos, including those that cannot be indexed."""
        return len(self._store)

    def find(self, name: str) -> PacketIndex | None:
        """The index of a video; None if it is not in the cache or the file has changed since.

        Args:
            name: Path relative to the root.

        Raises:
            VideoError: The file could not be indexed; the stored error is raised.
        """
        data = self._data(name)
        try:
            return _unpack(os.path.join(self.root, name), data) if data else None
        except ValueError as error:
            self._warn_of(error)
            return None

    def packed(self, name: str) -> bytes:
        """The index of a video in the form of :meth:`PacketIndex.to_bytes`; empty if there is none."""
        data = self._data(name)
        return b"" if _is_error(data) else data.removeprefix(_INDEX)

    def _data(self, name: str) -> bytes:
        """The stored data of an unchanged video; empty if there is none or it cannot be read."""
        path = os.path.join(self.root, name)
        state = file_state(path)
        try:
            data = None if state is None else self._store.read(name, state)
            if data is None and self._store.states([name]):
                self._warn(f"{path} has changed: it is indexed at each read until the next run")
        except (ValueError, sqlite3.Error) as error:
            if self.writable and isinstance(error, ValueError):
                return self._replace(name, error)
            self._warn_of(error)
            return b""
        return data or b""

    def _replace(self, name: str, damage: ValueError) -> bytes:
        """Replace the damaged record of a file; returns its new data."""
        log.warning("the index in %s: %s: rebuilding it", self.folder, damage)
        record = make_record((self.root, name))
        if record is None:
            return b""
        try:
            self._store.write([record])
        except sqlite3.Error as error:
            self._warn(f"the index in {self.folder} cannot be written ({error})")
        return record.data

    def update(self, names: Sequence[str], workers: int = 0) -> None:
        """Index the videos that are new or have changed.

        One process does this at a time; others wait and reuse the result. If the folder cannot be written, a
        warning is logged: without the cache clips are the same, and reading takes longer.

        Args:
            names: Paths relative to the root.
            workers: Number of worker processes. With 0, a video that crashes the decoder ends this process.

        Raises:
            DatasetError: The folder holds files that are not of an index; it is left unchanged.
        """
        try:
            if not self._outdated(names) and not self._store.problem:
                return
            self._store.tag()
            with self._lock():
                self._store.open()
                outdated = self._outdated(names)  # another process may have indexed them meanwhile
                if self._store.problem:
                    log.warning("the index in %s %s: rebuilding it", self.folder, self._store.problem)
                    self._store.clear()
                    outdated = self._outdated(names)
                if outdated:
                    self._build(outdated, workers)
        except (OSError, sqlite3.Error) as error:
            log.warning(
                "the index in %s cannot be written (%s): reading videos without an index takes longer. "
                "Name a writable folder with --data.index_dir",
                self.folder,
                getattr(error, "strerror", None) or error,
            )

    def _build(self, names: Sequence[str], workers: int) -> None:
        self._store.create()
        chunk: list[Record] = []
        unreadable: list[str] = []
        try:
            for record in tqdm(_records(self.root, names, workers), "indexing", len(names), unit="video"):
                if record is not None:
                    chunk.append(record)
                    unreadable += [record.name] if _is_error(record.data) else []
                if len(chunk) == CHUNK:
                    self._store.write(chunk)
                    chunk = []
        finally:
            if chunk:
                self._store.write(chunk)
            self._store.open()
        if unreadable:
            log.warning(
                "%d of %d videos cannot be read, %s first", len(unreadable), len(names), min(unreadable)
            )

    def _outdated(self, names: Sequence[str]) -> list[str]:
        """The distinct names of files that are new or have changed since they were indexed."""
        distinct = sorted(set(names))
        parts = [distinct[start : start + 1000] for start in range(0, len(distinct), 1000)]

        def look(part: list[str]) -> list[FileState | None]:
            return [file_state(f"{self.root}/{name}") for name in part]

        outdated: list[str] = []
        with ThreadPoolExecutor(_STAT_THREADS) as pool:
            for part, now in zip(parts, pool.map(look, parts), strict=True):
                then = self._states(part)
                outdated += [
                    name
                    for name, state in zip(part, now, strict=True)
                    if state is not None and state != then.get(name)
                ]
        return outdated

    def _states(self, names: Sequence[str]) -> dict[str, FileState]:
        """The stored states; none if the database is damaged, which is recorded."""
        try:
            return self._store.states(names)
        except sqlite3.OperationalError:  # locked, or temporarily unreadable
            raise
        except sqlite3.DatabaseError as error:
            self._store.problem = f"is damaged ({error})"
            return {}

    @contextmanager
    def _lock(self) -> Iterator[None]:
        with open_to_append(self.folder / "lock") as file:
            try:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                log.warning("waiting for another process that writes the index in %s", self.folder)
                fcntl.lockf(file, fcntl.LOCK_EX)
            yield

    def _warn_of(self, error: Exception) -> None:
        self._warn(f"the index in {self.folder} is damaged ({error}): delete that folder")

    def _warn(self, text: str) -> None:
        """Warn once per process, since the cause may affect every video."""
        if not self._warned:
            self._warned = True
            log.warning("%s", text)


def _records(root: Path, names: Sequence[str], workers: int) -> Iterator[Record | None]:
    """Yield a record per file as they are completed; None for files that are not recorded."""
    if not workers:
        yield from (make_record((root, name)) for name in names)
        return
    jobs = ((root, name) for name in names)
    workers = min(workers, 1 + len(names) // _VIDEOS_PER_WORKER)
    for (_, name), result in pool.run(make_record, jobs, workers):
        yield _record_of_crash(root, name, result) if isinstance(result, pool.Died) else result


def _record_of_crash(root: Path, name: str, end: pool.Died) -> Record | None:
    """The record of a video that crashed its worker; None if the worker died of another cause."""
    path = os.path.join(root, name)
    state = file_state(path)
    error = UnreadableVideoError(path, f"FFmpeg crashed: {end}", FETCH_AGAIN)
    log.warning("%s", error)
    return Record(name, state, _pack_error(error)) if state is not None and end.is_crash else None


def make_record(job: tuple[Path, str]) -> Record | None:
    """Index a file, given by root and name; None if it is missing or its disk cannot be read."""
    root, name = job
    path = os.path.join(root, name)
    state = file_state(path)
    if state is None:
        return None
    try:
        with closing(Demuxer(path)) as demuxer:
            data = _INDEX + build_index(demuxer).to_bytes()
    except OSError:
        return None
    except VideoError as error:
        if isinstance(error.__cause__, OSError):  # of the disk or its permissions, not of the file
            return None
        data = _pack_error(error)
    return Record(name, state, data)


def index_versions() -> dict[str, object]:
    """Versions that the indexes depend on."""
    libraries = {name: ".".join(map(str, version)) for name, version in av.library_versions.items()}
    return {"index": INDEX_VERSION, **libraries}


def file_state(path: str) -> FileState | None:
    """Size and modification time of a file; None if there is no such file."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return FileState(status.st_size, status.st_mtime_ns)


def _pack_error(error: VideoError) -> bytes:
    """Serialize an error without its path."""
    return _ERROR + json.dumps([type(error).__name__, *error.args[1:]]).encode()


def _is_error(data: bytes) -> bool:
    return data.startswith(_ERROR)


def _unpack(path: str, data: bytes) -> PacketIndex:
    """Deserialize a record.

    Raises:
        ValueError: It is damaged.
        VideoError: It is the record of an error.
    """
    if data.startswith(_INDEX):
        return PacketIndex.from_bytes(data[1:])
    kind, *about = parse_json(data.removeprefix(_ERROR))
    if kind not in _ERRORS or len(about) != _ERROR_FIELDS:
        raise ValueError("unknown kind of error")
    raise _ERRORS[kind](path, *about)
