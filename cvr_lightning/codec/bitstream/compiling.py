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
_PARSERS = {
    "h264.cabac_packets": ("H.264 parser for CABAC", 30),
    "h264.cavlc_packets": ("H.264 parser for CAVLC", 20),
    "h264.cabac_b_slices": ("H.264 parser for B slices in CABAC", 15),
    "h264.cavlc_b_slices": ("H.264 parser for B slices in CAVLC", 10),
    "mpeg4.pframes": ("MPEG-4 parser", 10),
    "mpeg4.reference_vop": ("MPEG-4 parser", 10),
    "mpeg4.bidirectional_vop": ("MPEG-4 parser for B-VOPs", 10),
}
"""Name and seconds of the kernels that take longest, by their module."""
_INDEX = "packet index", 10
_lock = threading.Lock()
_ready = set[Any]()


def call(kernel: Any, *arguments: object) -> Any:
    """Call a kernel; print a message on standard error if compiling it takes long."""
    if kernel in _ready:
        return kernel(*arguments)
    module = kernel.__module__.removeprefix("cvr_lightning.codec.")
    message = _MESSAGE.format(*_PARSERS.get(module, _INDEX))
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
