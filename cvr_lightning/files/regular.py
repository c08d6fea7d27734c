"""Opens files in untrusted folders: only regular files, and not through a link for writing."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO


def open_to_read(path: Path) -> BinaryIO:
    """Open a regular file; opening a named pipe could block, and a device may have no end.

    Raises:
        OSError: It cannot be opened, or is not a regular file.
    """
    return _open(path, "rb", os.O_RDONLY)


def open_to_append(path: Path) -> BinaryIO:
    """Open or create a regular file to read and append; a link could lead out of its folder.

    Raises:
        OSError: It cannot be opened, is not a regular file, or is a link.
    """
    try:
        return _open(path, "a+b", os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise OSError(errno.ELOOP, "it is a link", str(path)) from error
        raise


def _open(path: Path, mode: str, flags: int) -> BinaryIO:
    descriptor = os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file", str(path))
        return os.fdopen(descriptor, mode)  # type: ignore[return-value]
    except BaseException:
        os.close(descriptor)
        raise
