"""Reads bytes of shards, from a disk or over the network."""

from __future__ import annotations

import os
import time
from pathlib import Path

import fsspec
from fsspec import AbstractFileSystem
from fsspec.implementations.local import LocalFileSystem

from cvr_lightning.errors import ShardError
from cvr_lightning.files.bounds import TEXT_BYTES
from cvr_lightning.files.printable import without_secrets
from cvr_lightning.files.regular import open_to_read

ATTEMPTS = 3
"""Number of attempts of a read, since network errors are often temporary."""


class ShardFiles:
    """The files of a folder of shards. Each process opens its own connections.

    Args:
        location: A local folder, or a URL that fsspec supports: ``https://...``, ``s3://...``,
            ``filecache::gs://...``. Its query, such as a token, is appended to the URL of every file.
    """

    def __init__(self, location: str) -> None:
        place, mark, query = location.partition("?") if "://" in location else (location, "", "")
        self._folder, self._query = place.rstrip("/"), mark + query
        self.location = without_secrets(self._folder)  # for messages
        self._opened: tuple[int, AbstractFileSystem, str] | None = None

    def read(self, name: str, start: int | None = None, size: int | None = None) -> bytes:
        """Read a file, or part of it.

        Args:
            name: Name of the file.
            start: First byte.
            size: Number of bytes.

        Raises:
            ShardError: The file is missing, cannot be read, or is too short.
        """
        end = None if start is None or size is None else start + size
        data = self._cat(name, start, end)
        if size is not None and len(data) != size:
            raise ShardError(
                f"{self.location}/{name}: {len(data)} bytes instead of {size} from byte {start}: "
                "the file is truncated, or its server ignores ranges; copy it again"
            )
        return data

    def _cat(self, name: str, start: int | None, end: int | None) -> bytes:
        for attempt in range(ATTEMPTS):
            try:
                filesystem, folder = self._open()
                if isinstance(filesystem, LocalFileSystem):
                    return _cat_local(Path(folder, name), start, end)
                data: bytes = filesystem.cat_file(f"{folder}/{name}{self._query}", start=start, end=end)
                return data
            except FileNotFoundError as error:
                raise ShardError(
                    f"{self.location}/{name}: no such file; give the folder or the URL that cvr pack wrote to"
                ) from error
            except Exception as error:  # each file system raises its own types
                if attempt == ATTEMPTS - 1:
                    raise ShardError(
                        f"{self.location}/{name}: cannot be read ({without_secrets(repr(error))})"
                    ) from error
                time.sleep(2**attempt)
        raise AssertionError

    def _open(self) -> tuple[AbstractFileSystem, str]:
        """The file system and the folder's path in it, opened once per process."""
        if self._opened is None or self._opened[0] != os.getpid():
            filesystem, folder = fsspec.core.url_to_fs(self._folder)
            self._opened = os.getpid(), filesystem, folder
        return self._opened[1:]


def _cat_local(path: Path, start: int | None, end: int | None) -> bytes:
    """Part of a regular file; all of it only within the limit of a text."""
    with open_to_read(path) as file:
        if end is None:
            TEXT_BYTES.check(os.fstat(file.fileno()).st_size)
            return file.read()
        file.seek(start or 0)
        return file.read(end - (start or 0))
