"""Limits on declared sizes, checked before memory is allocated."""

from __future__ import annotations

from cvr_lightning.codec.errors import UnsupportedStreamError
from cvr_lightning.files.bounds import Limit

PIXELS = Limit("CVR_MAX_PIXELS", 1 << 24, "pixels of a frame")
"""4096x4096 by default."""
RAISE = f"set {PIXELS.variable} in the environment to more pixels if you trust the file, or leave it out"
"""Advice for frames above the limit."""


def check_size(path: str, width: int, height: int) -> None:
    """Check the frame size that a file declares.

    Args:
        path: The file, for the message.
        width: Width in pixels.
        height: Height in pixels.

    Raises:
        RunError: The environment variable is not a positive integer.
        UnsupportedStreamError: The size is not positive, or is above the limit.
    """
    bound = PIXELS.value
    if not (width > 0 and height > 0 and width * height <= bound):
        # FFmpeg ignores a size above the limit and reports 0.
        size = f"frames of {width}x{height} pixels" if width and height else "no frame size within the limit"
        raise UnsupportedStreamError(path, f"it declares {size}; at most {bound} pixels are read", RAISE)
