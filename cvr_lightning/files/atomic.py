"""Atomic file output: a file appears complete or not at all, even after a power failure."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cvr_lightning.errors import OutputError

_UNFINISHED = re.compile(r"\.(?P<name>.+)\.\d+\.part")
DISK_FAULTS = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG, errno.ENODEV, errno.ENXIO, errno.ESTALE}
)
"""Errors of the disk rather than of the arguments."""


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a hidden path next to ``path`` to write to; it is renamed to ``path`` unless the block fails.

    The name contains the process id, so processes that write the same file do not interfere. An existing file
    is kept until the new one is on disk.

    Raises:
        OutputError: The file cannot be written.
    """
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield unfinished
        _publish(unfinished, path)
    except OSError as error:
        if error.errno in DISK_FAULTS or error.filename in (str(unfinished), str(path), str(path.parent)):
            raise output_error(path, error) from error
        raise
    finally:
        with suppress(OSError):  # the disk may be gone
            unfinished.unlink(missing_ok=True)


def write_output(path: Path, content: bytes | memoryview) -> None:
    """Write a file atomically.

    Raises:
        OutputError: The file cannot be written.
    """
    with atomic_path(path) as unfinished:
        unfinished.write_bytes(content)


def output_error(path: Path, error: OSError) -> OutputError:
    """The error for a file or folder that cannot be written."""
    return OutputError(
        error.errno,
        f"{path}: cannot be written ({error.strerror}); free disk space or choose another path. An "
        "existing file is unchanged",
    )


def _publish(unfinished: Path, path: Path) -> None:
    """Rename after syncing the contents, since the new name might otherwise refer to an empty file."""
    with unfinished.open("rb") as file:
        os.fsync(file.fileno())
    unfinished.replace(path)
    with suppress(OSError):  # not all file systems can sync folders
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def unfinished_files(folder: Path) -> Iterator[tuple[Path, Path]]:
    """Yield the files that killed processes left below a folder, each with its intended path."""
    for parent, _, names in os.walk(folder):
        for name in names:
            found = _UNFINISHED.fullmatch(name)
            if found is not None:
                yield Path(parent, name), Path(parent, found["name"])
