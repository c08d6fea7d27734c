"""Prints a message while numba compiles a kernel, once per installation.

Numba caches compiled kernels beside the source files or in the user's cache folder. It detects changes of the
kernel's own file, not of imported kernels: run ``make clean`` after editing those.
"""

from __future__ import annotations

import sys
import threading
from typing import Any

_PATIENCE = 1.5  # seconds; loading from the cache takes less
_MESSAGE = "cvr_lightning: compiling the {}, once (about {} seconds)"
_NAMES = {".h264.": ("H.264 parser", 25), ".mpeg4.": ("MPEG-4 parser", 10)}
_lock = threading.Lock()
_ready = set[Any]()


def call(kernel: Any, *arguments: object) -> Any:
    """Call a kernel; print a message on standard error if compiling it takes long."""
    if kernel in _ready:
        return kernel(*arguments)
    named = (name for folder, name in _NAMES.items() if folder in kernel.__module__)
    message = _MESSAGE.format(*next(named, ("index", 5)))
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
