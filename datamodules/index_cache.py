"""Packet indexes of a data set's videos: made once, by several processes, and kept beside the videos."""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from cvr_lightning.codec.container.demux import Demuxer
from cvr_lightning.codec.container.index import INDEX_VERSION, PacketIndex
from cvr_lightning.codec.container.scan import build_index
from cvr_lightning.codec.errors import (
    BitstreamError,
    UnreadableVideoError,
    UnsupportedStreamError,
    VideoError,
)
from cvr_lightning.datamodules.index_store import IndexStore, Record

log = logging.getLogger(__name__)

CHUNK = 2000
"""Videos between two writes: what a build that is killed loses at most."""
_VIDEOS_PER_WORKER = 32  # fewer are not worth the start of a process
_STAT_THREADS = 16  # network file systems answer many questions at a time
_ERRORS: dict[str, type[VideoError]] = {
    kind.__name__: kind for kind in (VideoError, UnreadableVideoError, UnsupportedStreamError, BitstreamError)
}


class IndexCache:
    """The packet indexes of the videos below one folder, and the errors of those that have none.

    An entry holds for as long as its file has the size and the modification time of its indexing; the whole
    cache, for as long as this package's index and FFmpeg keep their versions. Pickled, it is its two paths: a
    spawned worker maps the same files again.

    Args:
        root: Folder that the names are relative to.
        folder: Where the cache lies, or is to lie.
    """

    def __init__(self, root: Path, folder: Path) -> None:
        self.root = root
        self.folder = folder
        self._store = IndexStore(folder, index_versions())
        self._warned = False

    def __reduce__(self) -> tuple[Any, ...]:
        return IndexCache, (self.root, self.folder)

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
        data = self._record(name)
        if not data:
            return None
        try:
            return _unpack(os.path.join(self.root, name), data)
        except ValueError as error:
            self._warn(f"the index in {self.folder} is damaged ({error}): delete that folder")
            return None

    def packed(self, name: str) -> bytes:
        """The index of a video as :meth:`PacketIndex.to_bytes` gave it; empty where the cache has none."""
        data = self._record(name)
        return b"" if _is_error(data) else data

    def _record(self, name: str) -> bytes:
        """What the cache holds of a video as it is now; empty where that is nothing."""
        (row,) = self._store.find(_keys([name]))
        if row < 0:
            return b""
        path = os.path.join(self.root, name)
        if _size_and_mtime(path) != (self._store.sizes[row], self._store.mtimes[row]):
            self._warn(f"{path} has changed: until the next run indexes it, each visit does")
            return b""
        return self._store.read(row)

    def update(self, names: Sequence[str], workers: int = 0) -> None:
        """Index the videos that are new or have changed.

        One process at a time does so; another waits and finds what the first has done. Where the folder
        cannot be written, a warning says so: clips do not depend on the cache, only the time to read them.

        Args:
            names: Paths relative to the root.
            workers: Processes that share the work; 0 leaves it to this one.
        """
        if not self._outdated(names):
            return
        try:
            with self._lock():
                self._store.open()
                if self._store.problem:
                    log.warning("the index in %s %s: making it anew", self.folder, self._store.problem)
                outdated = self._outdated(names)  # another process may have indexed them meanwhile
                if outdated:
                    self._build(outdated, workers)
        except OSError as error:
            log.warning(
                "the index in %s cannot be written (%s): each visit to a video that it lacks takes longer. "
                "Name a folder that can be written with --data.index_dir",
                self.folder,
                error.strerror or error,
            )

    def _build(self, names: Sequence[str], workers: int) -> None:
        chunk: list[Record] = []
        unreadable: list[str] = []
        records = tqdm(_index(self.root, names, workers), "indexing", len(names), unit="video")
        for name, record in zip(names, records, strict=True):
            if record is not None:
                chunk.append(record)
                unreadable += [name] if _is_error(record.data) else []
            if len(chunk) == CHUNK:
                self._store.write(chunk)
                chunk = []
        if chunk:
            self._store.write(chunk)
        if unreadable:
            log.warning(
                "%d of %d videos cannot be read, %s first", len(unreadable), len(names), unreadable[0]
            )

    def _outdated(self, names: Sequence[str]) -> list[str]:
        """The names, each once, of files that are not indexed as they are now."""
        keys = _keys(names)
        first = np.sort(np.unique(keys, return_index=True)[1])
        names = list(names)
        distinct = [names[i] for i in first.tolist()]
        now = _sizes_and_mtimes([f"{self.root}/{name}" for name in distinct])
        rows = self._store.find(keys[first])
        found = rows >= 0
        then = np.full_like(now, -1)
        then[found] = np.stack([self._store.sizes, self._store.mtimes], axis=1)[rows[found]]
        outdated = (now != then).any(axis=1) & (now[:, 0] >= 0)
        return [distinct[i] for i in np.flatnonzero(outdated).tolist()]

    @contextmanager
    def _lock(self) -> Iterator[None]:
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "lock").open("w") as file:
            try:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                log.warning("waiting for another process that writes the index in %s", self.folder)
                fcntl.lockf(file, fcntl.LOCK_EX)
            yield

    def _warn(self, text: str) -> None:
        """Once in each process: what befalls one video may befall all."""
        if not self._warned:
            self._warned = True
            log.warning("%s", text)


def _index(root: Path, names: Sequence[str], workers: int) -> Iterable[Record | None]:
    """The record of each file in turn, None where there is nothing to keep."""
    workers = min(workers, len(names) // _VIDEOS_PER_WORKER)
    return DataLoader(
        _Records(root, names),
        batch_size=None,
        num_workers=workers,
        prefetch_factor=_VIDEOS_PER_WORKER if workers else None,
        generator=torch.Generator(),  # the global one belongs to the training
    )


class _Records(Dataset["Record | None"]):
    """Indexes the file of each name when it is asked for."""

    def __init__(self, root: Path, names: Sequence[str]) -> None:
        self.root = root
        self.names = names

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, number: int) -> Record | None:
        name = self.names[number]
        path = os.path.join(self.root, name)
        size, mtime = _size_and_mtime(path)
        if size < 0:
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
        return Record(int(_keys([name])[0]), size, mtime, data)


def index_versions() -> dict[str, object]:
    """What the indexes depend on beside the files."""
    demuxers = {name: av.library_versions[name] for name in ("libavformat", "libavcodec")}
    return {"index": INDEX_VERSION, **{name: ".".join(map(str, v)) for name, v in demuxers.items()}}


def _keys(names: Iterable[str]) -> npt.NDArray[np.int64]:
    """A number for each name: hashes of 64 bits, of which half a million meet once in 10^8 data sets."""
    encoded = (name.encode("utf-8", "surrogateescape") for name in names)
    return np.frombuffer(b"".join(hashlib.blake2b(e, digest_size=8).digest() for e in encoded), "<i8")


def _size_and_mtime(path: str) -> tuple[int, int]:
    """Bytes and ns, -1 where there is no such file."""
    try:
        status = os.stat(path)
    except OSError:
        return -1, -1
    return status.st_size, status.st_mtime_ns


def _sizes_and_mtimes(paths: Sequence[str]) -> npt.NDArray[np.int64]:
    """(N, 2) of :func:`_size_and_mtime`."""

    def look(start: int) -> list[tuple[int, int]]:
        return [_size_and_mtime(path) for path in paths[start : start + 1000]]

    with ThreadPoolExecutor(_STAT_THREADS) as pool:
        parts = pool.map(look, range(0, len(paths), 1000))
        return np.array(list(chain.from_iterable(parts)), np.int64).reshape(-1, 2)


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
    if _is_error(data):
        kind, *about = json.loads(data)
        raise _ERRORS[kind](path, *about)
    return PacketIndex.from_bytes(data)
