"""Bytes out of shards, wherever they lie."""

from __future__ import annotations

import os
import time

import fsspec
from fsspec import AbstractFileSystem

from cvr_lightning.errors import ShardError
from cvr_lightning.files.printable import without_secrets

ATTEMPTS = 3
"""Networks fail for moments; a read that has failed so often has failed."""


class ShardFiles:
    """The files of a folder of shards. A process that inherits or unpickles it opens connections of its own.

    Args:
        location: A local folder, or a URL that fsspec understands: ``https://...``, ``s3://...``,
            ``filecache::gs://...``. Its query, as a token, goes with the address of every file.
    """

    def __init__(self, location: str) -> None:
        place, mark, query = location.partition("?") if "://" in location else (location, "", "")
        self._folder, self._query = place.rstrip("/"), mark + query
        self.location = without_secrets(self._folder)  # as messages name it
        self._opened: tuple[int, AbstractFileSystem, str] | None = None

    def read(self, name: str, start: int | None = None, size: int | None = None) -> bytes:
        """Part of a file, or all of it.

        Args:
            name: Name of the file.
            start: First byte.
            size: Number of bytes.

        Raises:
            ShardError: The file is not there, cannot be read, or is too short.
        """
        end = None if start is None or size is None else start + size
        data = self._cat(name, start, end)
        if size is not None and len(data) != size:
            raise ShardError(
                f"{self.location}/{name}: {len(data)} bytes instead of {size} from byte {start}: "
                "the file is cut short, or its server ignores ranges; copy it again"
            )
        return data

    def _cat(self, name: str, start: int | None, end: int | None) -> bytes:
        for attempt in range(ATTEMPTS):
            try:
                filesystem, folder = self._open()
                data: bytes = filesystem.cat_file(f"{folder}/{name}{self._query}", start=start, end=end)
                return data
            except FileNotFoundError as error:
                raise ShardError(
                    f"{self.location}/{name}: no such file; give the folder or the URL that cvr pack wrote to"
                ) from error
            except Exception as error:  # each file system has errors of its own
                if attempt == ATTEMPTS - 1:
                    raise ShardError(
                        f"{self.location}/{name}: cannot be read ({without_secrets(repr(error))})"
                    ) from error
                time.sleep(2**attempt)
        raise AssertionError

    def _open(self) -> tuple[AbstractFileSystem, str]:
        """The file system and its name of the folder, opened once in each process."""
        if self._opened is None or self._opened[0] != os.getpid():
            filesystem, folder = fsspec.core.url_to_fs(self._folder)
            self._opened = os.getpid(), filesystem, folder
        return self._opened[1:]
