"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cvr_lightning.errors import RunError

_UNFINISHED = re.compile(r"\.(?P<name>.+)\.\d+\.part")


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Give a hidden name beside ``path`` to write to; it becomes ``path`` unless the block fails.

    The name holds the process id, so that two processes that write the same file do not meet.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield unfinished
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def write_output(path: Path, content: bytes) -> None:
    """Write what a command's ``--output`` names.

    Raises:
        RunError: Where it cannot be written.
    """
    try:
        with atomic_path(path) as unfinished:
            unfinished.write_bytes(content)
    except OSError as error:
        raise RunError(f"{path}: cannot be written ({error.strerror}); give another --output") from error


def unfinished_files(folder: Path) -> Iterator[tuple[Path, Path]]:
    """What killed processes have left below a folder: each file, and the one that it was to become."""
    for parent, _, names in os.walk(folder):
        for name in names:
            found = _UNFINISHED.fullmatch(name)
            if found is not None:
                yield Path(parent, name), Path(parent, found["name"])
