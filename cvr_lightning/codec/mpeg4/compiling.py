"""A word to the user while numba compiles the kernels, once in the life of an installation."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_PATIENCE = 1.5  # seconds; loading from the cache takes less
_MESSAGE = "cvr_lightning: compiling the MPEG-4 parser, once (about 20 seconds)"
_lock = threading.Lock()
_ready = False


@contextmanager
def announced() -> Iterator[None]:
    """Say on standard error that the first call compiles, if it takes long."""
    global _ready
    if _ready:
        yield
        return
    timer = threading.Timer(_PATIENCE, lambda: print(_MESSAGE, file=sys.stderr, flush=True))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        with _lock:
            _ready = True
