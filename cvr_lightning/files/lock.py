"""Locks that let one process at a time write to a folder."""

from __future__ import annotations

import fcntl
import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from io import TextIOWrapper
from pathlib import Path
from typing import TextIO

from cvr_lightning.errors import InUseError
from cvr_lightning.files.atomic import output_error
from cvr_lightning.files.regular import open_to_append

log = logging.getLogger(__name__)

LOCK = ".lock"


@contextmanager
def hold(folder: Path, name: str = LOCK, *, shared: bool = False) -> Iterator[None]:
    """Keep other processes from writing to a folder while the block runs.

    The kernel releases the lock when the process ends. On NFS it works across machines if the server runs a
    lock manager, and only within a machine if mounted with ``nolock``. File systems without locks cause a
    warning.

    Args:
        folder: The folder; created if missing.
        name: Name of the lock file, which is kept.
        shared: Allow other shared holders.

    Raises:
        InUseError: Another process holds it; the message says which.
        OutputError: The folder cannot be written.
    """
    path = folder / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = TextIOWrapper(open_to_append(path), encoding="utf-8")
    except OSError as error:
        raise output_error(folder, error) from error
    with file:
        _acquire(file, folder, shared)
        with suppress(OSError):  # on a full disk the lock works without naming its holder
            file.truncate(0)
            file.write(
                f"pid {os.getpid()} on {socket.gethostname()} since {datetime.now():%Y-%m-%d %H:%M:%S}"
            )
            file.flush()
        yield


def _acquire(file: TextIO, folder: Path, shared: bool) -> None:
    # Not flock: workers inherit its locks and would hold them after the run is killed.
    try:
        fcntl.lockf(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError) as error:
        file.seek(0)
        holder = file.read().strip() or "not named"
        raise InUseError(
            f"{folder}: another process is writing to it ({holder}); wait for it, or choose another folder"
        ) from error
    except OSError as error:
        log.warning(
            "%s: this file system has no locks (%s); do not write to it from several processes",
            folder,
            error.strerror,
        )
