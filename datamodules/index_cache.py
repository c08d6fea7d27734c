"""Packet indexes of a data set's videos: made once, by several processes, and kept beside the videos."""

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

log = logging.getLogger(__name__)

CHUNK = 2000
"""Videos between two writes: what a build that is killed loses at most."""
_VIDEOS_PER_WORKER = 32  # fewer are not worth the start of another process
_STAT_THREADS = 16  # network file systems answer many questions at a time
_ERROR_FIELDS = 6  # of a VideoError, beside the path
_ERRORS: dict[str, type[VideoError]] = {
    kind.__name__: kind for kind in (VideoError, UnreadableVideoError, UnsupportedStreamError, BitstreamError)
}


class IndexCache:
    """The packet indexes of the videos below one folder, and the errors of those that have none.

    An entry holds for as long as its file has the size and the modification time of its indexing; the whole
    cache, for as long as this package's index and FFmpeg keep their versions. Pickled, it is its arguments.

    Args:
        root: Folder that the names are relative to.
        folder: Where the cache lies, or is to lie.
        writable: Whether a record that is found damaged is written anew.
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
        """Number of videos, those without an index among them."""
        return len(self._store)

    def find(self, name: str) -> PacketIndex | None:
        """The index of a video; None where the cache lacks it or the file has changed since.

        Args:
            name: Path relative to the root.

        Raises:
            VideoError: The file cannot be indexed, for the cause that was found then.
        """
        data = self._data(name)
        try:
            return _unpack(os.path.join(self.root, name), data) if data else None
        except ValueError as error:
            self._warn_of(error)
            return None

    def packed(self, name: str) -> bytes:
        """The index of a video as :meth:`PacketIndex.to_bytes` gave it; empty where the cache has none."""
        data = self._data(name)
        return b"" if _is_error(data) else data

    def _data(self, name: str) -> bytes:
        """What the cache holds of a video as it is now; empty where that is nothing, or cannot be read."""
        path = os.path.join(self.root, name)
        state = file_state(path)
        try:
            data = None if state is None else self._store.read(name, state)
            if data is None and self._store.states([name]):
                self._warn(f"{path} has changed: until the next run indexes it, each visit does")
        except (ValueError, sqlite3.Error) as error:
            if self.writable and isinstance(error, ValueError):
                return self._made_anew(name, error)
            self._warn_of(error)
            return b""
        return data or b""

    def _made_anew(self, name: str, damage: ValueError) -> bytes:
        """The data of a file whose record is damaged, which is replaced."""
        log.warning("the index in %s: %s: making it anew", self.folder, damage)
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

        One process at a time does so; another waits and finds what the first has done. Where the folder
        cannot be written, a warning says so: clips do not depend on the cache, only the time to read them.

        Args:
            names: Paths relative to the root.
            workers: Processes that share the work; 0 leaves it to this one, which a video that crashes the
                decoder then ends.

        Raises:
            DatasetError: The folder holds what is not of an index; nothing in it has been touched.
        """
        try:
            if not self._outdated(names) and not self._store.problem:
                return
            self._store.tag()
            with self._lock():
                self._store.open()
                outdated = self._outdated(names)  # another process may have indexed them meanwhile
                if self._store.problem:
                    log.warning("the index in %s %s: making it anew", self.folder, self._store.problem)
                    self._store.clear()
                    outdated = self._outdated(names)
                if outdated:
                    self._build(outdated, workers)
        except (OSError, sqlite3.Error) as error:
            log.warning(
                "the index in %s cannot be written (%s): each visit to a video that it lacks takes longer. "
                "Name a folder that can be written with --data.index_dir",
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
        """The names, each once, of files that are not indexed as they are now."""
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
        """What the store knows; of a damaged one nothing, which is noted."""
        try:
            return self._store.states(names)
        except sqlite3.OperationalError:  # locked, or not to be read now
            raise
        except sqlite3.DatabaseError as error:
            self._store.problem = f"is damaged ({error})"
            return {}

    @contextmanager
    def _lock(self) -> Iterator[None]:
        with (self.folder / "lock").open("a") as file:
            try:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                log.warning("waiting for another process that writes the index in %s", self.folder)
                fcntl.lockf(file, fcntl.LOCK_EX)
            yield

    def _warn_of(self, error: Exception) -> None:
        self._warn(f"the index in {self.folder} is damaged ({error}): delete that folder")

    def _warn(self, text: str) -> None:
        """Once in each process: what befalls one video may befall all."""
        if not self._warned:
            self._warned = True
            log.warning("%s", text)


def _records(root: Path, names: Sequence[str], workers: int) -> Iterator[Record | None]:
    """The record of each file as it is made, None where there is nothing to keep."""
    if not workers:
        yield from (make_record((root, name)) for name in names)
        return
    jobs = ((root, name) for name in names)
    workers = min(workers, 1 + len(names) // _VIDEOS_PER_WORKER)
    for (_, name), result in pool.run(make_record, jobs, workers, start_method="fork"):
        yield _record_of_the_dead(root, name, result) if isinstance(result, pool.Died) else result


def _record_of_the_dead(root: Path, name: str, end: pool.Died) -> Record | None:
    """What is kept of a video whose worker ended in the midst of it."""
    path = os.path.join(root, name)
    state = file_state(path)
    error = UnreadableVideoError(path, f"FFmpeg crashed: {end}", FETCH_AGAIN)
    log.warning("%s", error)
    return Record(name, state, _pack_error(error)) if state is not None and end.is_crash else None


def make_record(job: tuple[Path, str]) -> Record | None:
    """Index the file of a name under a root; None where there is nothing to keep."""
    root, name = job
    path = os.path.join(root, name)
    state = file_state(path)
    if state is None:
        return None
    try:
        with closing(Demuxer(path)) as demuxer:
            data = build_index(demuxer).to_bytes()
    except OSError:
        return None
    except VideoError as error:
        if isinstance(error.__cause__, OSError):  # the disk or its rights are at fault, not the file
            return None
        data = _pack_error(error)
    return Record(name, state, data)


def index_versions() -> dict[str, object]:
    """What the indexes depend on beside the files."""
    demuxers = {name: av.library_versions[name] for name in ("libavformat", "libavcodec")}
    return {"index": INDEX_VERSION, **{name: ".".join(map(str, v)) for name, v in demuxers.items()}}


def file_state(path: str) -> FileState | None:
    """Size and modification time of a file, None where there is none."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return FileState(status.st_size, status.st_mtime_ns)


def _pack_error(error: VideoError) -> bytes:
    """An error without its file's path; a packed index begins with another byte."""
    return json.dumps([type(error).__name__, *error.args[1:]]).encode()


def _is_error(data: bytes) -> bool:
    return data.startswith(b"[")


def _unpack(path: str, data: bytes) -> PacketIndex:
    """The index, or the error, that a record holds.

    Raises:
        ValueError: It is damaged.
        VideoError: It holds an error.
    """
    if not _is_error(data):
        return PacketIndex.from_bytes(data)
    kind, *about = parse_json(data)
    if kind not in _ERRORS or len(about) != _ERROR_FIELDS:
        raise ValueError("a record of an error that there is not")
    raise _ERRORS[kind](path, *about)
