"""The writer of all outputs: a file appears whole or not at all, also after a power cut."""

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
"""What only a disk that is written to can be at fault for."""


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Give a hidden name beside ``path`` to write to; it becomes ``path`` unless the block fails.

    The name holds the process id, so that two processes that write the same file do not meet. What ``path``
    held stays until the new file is on the disk.

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
        with suppress(OSError):  # a disk that is gone
            unfinished.unlink(missing_ok=True)


def write_output(path: Path, content: bytes | memoryview) -> None:
    """Write a whole file.

    Raises:
        OutputError: It cannot be written.
    """
    with atomic_path(path) as unfinished:
        unfinished.write_bytes(content)


def output_error(path: Path, error: OSError) -> OutputError:
    """The error of a file or folder that cannot be written."""
    return OutputError(
        error.errno,
        f"{path}: cannot be written ({error.strerror}); make room on the disk or give another place. What "
        "was there before is unchanged",
    )


def _publish(unfinished: Path, path: Path) -> None:
    """Rename once the contents are on the disk: a name that is there earlier may be that of an empty file."""
    with unfinished.open("rb") as file:
        os.fsync(file.fileno())
    unfinished.replace(path)
    with suppress(OSError):  # not all file systems let folders be synchronized
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def unfinished_files(folder: Path) -> Iterator[tuple[Path, Path]]:
    """What killed processes have left below a folder: each file, and the one that it was to become."""
    for parent, _, names in os.walk(folder):
        for name in names:
            found = _UNFINISHED.fullmatch(name)
            if found is not None:
                yield Path(parent, name), Path(parent, found["name"])
