"""Bounds on what a file may declare, checked before memory is allocated for it."""

from __future__ import annotations

import os

from cvr_lightning.codec.errors import UnsupportedStreamError
from cvr_lightning.errors import RunError

MAX_PIXELS = 1 << 24
"""Pixels of a frame that are read unless :data:`VARIABLE` says otherwise: 4096x4096."""
VARIABLE = "CVR_MAX_PIXELS"
"""Environment variable that sets another bound."""

RAISE = f"set {VARIABLE} in the environment to more pixels if you trust the file, or leave it out"
"""Remedy for frames beyond the bound."""


def max_pixels() -> int:
    """The most pixels that a frame may have.

    Raises:
        RunError: The environment variable is no whole number above zero.
    """
    value = os.environ.get(VARIABLE, "")
    if not value:
        return MAX_PIXELS
    if not (value.isascii() and value.isdigit() and int(value)):
        raise RunError(f"{VARIABLE}={value}: give a whole number of pixels, such as {MAX_PIXELS}")
    return int(value)


def check_size(path: str, width: int, height: int) -> None:
    """Check the size of frames that a file declares.

    Args:
        path: The file, for the message.
        width: Width in pixels.
        height: Height in pixels.

    Raises:
        UnsupportedStreamError: There is no such frame, or it is larger than the bound.
    """
    bound = max_pixels()
    if not (width > 0 and height > 0 and width * height <= bound):
        # FFmpeg passes over a size beyond the bound: then it is 0 here.
        size = f"frames of {width}x{height} pixels" if width and height else "no frame size within the bound"
        raise UnsupportedStreamError(path, f"it declares {size}; at most {bound} pixels are read", RAISE)
