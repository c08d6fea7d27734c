"""One process at a time writes to a folder."""

from __future__ import annotations

import fcntl
import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import TextIO

from cvr_lightning.errors import InUseError
from cvr_lightning.files.atomic import output_error

log = logging.getLogger(__name__)

LOCK = ".lock"


@contextmanager
def hold(folder: Path, name: str = LOCK, *, shared: bool = False) -> Iterator[None]:
    """Keep other processes from writing to a folder while the block runs.

    The kernel releases the lock however this process ends, so none is left behind. On NFS it holds between
    machines where the server runs its lock manager, and on one machine alone where the folder is mounted with
    ``nolock``. A file system without locks gives a warning.

    Args:
        folder: The folder, which is made if it is not there.
        name: File of the lock, which stays.
        shared: Admit others that hold it shared.

    Raises:
        InUseError: Another process holds it; the message says which.
        OutputError: The folder cannot be written.
    """
    path = folder / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = path.open("a+", encoding="utf-8")
    except OSError as error:
        raise output_error(folder, error) from error
    with file:
        _acquire(file, folder, shared)
        with suppress(OSError):  # a full disk: the lock holds, its holder is not named
            file.truncate(0)
            file.write(
                f"pid {os.getpid()} on {socket.gethostname()} since {datetime.now():%Y-%m-%d %H:%M:%S}"
            )
            file.flush()
        yield


def _acquire(file: TextIO, folder: Path, shared: bool) -> None:
    # Not flock, whose locks workers inherit: those of a killed run would hold it until they end.
    try:
        fcntl.lockf(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError) as error:
        file.seek(0)
        holder = file.read().strip() or "not named"
        raise InUseError(
            f"{folder}: another process is writing to it ({holder}); wait for it, or give another folder"
        ) from error
    except OSError as error:
        log.warning(
            "%s: this file system has no locks (%s); let one process at a time write to it",
            folder,
            error.strerror,
        )
