"""Prints a message while numba compiles a kernel, once per installation.

Numba caches compiled kernels beside the source files or in the user's cache folder. It detects changes of the
kernel's own file, not of imported kernels: run ``make clean`` after editing those.
"""

from __future__ import annotations

import sys
import threading
from typing import Any

_PATIENCE = 1.5  # seconds; loading from the cache takes less
_MESSAGE = "cvr_lightning: compiling the {} parser, once (about {} seconds)"
_lock = threading.Lock()
_ready = set[Any]()


def call(kernel: Any, *arguments: object) -> Any:
    """Call a kernel; print a message on standard error if compiling it takes long."""
    if kernel in _ready:
        return kernel(*arguments)
    message = _MESSAGE.format(*("H.264", 25) if ".h264." in kernel.__module__ else ("MPEG-4", 10))
    timer = threading.Timer(_PATIENCE, print, [message], {"file": sys.stderr, "flush": True})
    timer.daemon = True
    with _lock:
        timer.start()
        try:
            result = kernel(*arguments)
            _ready.add(kernel)
            return result
        finally:
            timer.cancel()
