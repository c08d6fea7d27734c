"""Limits on declared sizes, checked before memory is allocated."""

from __future__ import annotations

import os

from cvr_lightning.codec.errors import UnsupportedStreamError
from cvr_lightning.errors import RunError

MAX_PIXELS = 1 << 24
"""Default limit on the pixels of a frame: 4096x4096."""
VARIABLE = "CVR_MAX_PIXELS"
"""Environment variable that overrides the limit."""

RAISE = f"set {VARIABLE} in the environment to more pixels if you trust the file, or leave it out"
"""Advice for frames above the limit."""


def max_pixels() -> int:
    """The maximum number of pixels of a frame.

    Raises:
        RunError: The environment variable is not a positive integer.
    """
    value = os.environ.get(VARIABLE, "")
    if not value:
        return MAX_PIXELS
    if not (value.isascii() and value.isdigit() and int(value[:18])):
        raise RunError(f"{VARIABLE}={value}: give a whole number of pixels, such as {MAX_PIXELS}")
    return int(value[:18])


def check_size(path: str, width: int, height: int) -> None:
    """Check the frame size that a file declares.

    Args:
        path: The file, for the message.
        width: Width in pixels.
        height: Height in pixels.

    Raises:
        UnsupportedStreamError: The size is not positive, or is above the limit.
    """
    bound = max_pixels()
    if not (width > 0 and height > 0 and width * height <= bound):
        # FFmpeg ignores a size above the limit and reports 0.
        size = f"frames of {width}x{height} pixels" if width and height else "no frame size within the limit"
        raise UnsupportedStreamError(path, f"it declares {size}; at most {bound} pixels are read", RAISE)
