"""Rotation of frames for display."""

from __future__ import annotations

import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame

from cvr_lightning.codec.errors import PREPARE_FOLDER, TURN_UPRIGHT, UnsupportedStreamError
from cvr_lightning.codec.side_data import side_data

_TURNING_CODECS = frozenset({"h264", "hevc"})  # may have a display orientation SEI message
_TURNING_FORMATS = frozenset({"mov", "mp4", "matroska", "webm"})  # containers with a display matrix


def may_turn(container: InputContainer, codec: str) -> bool:
    """Whether frames may be rotated for display; the angle is known only from a decoded frame."""
    return codec in _TURNING_CODECS or bool(_TURNING_FORMATS & set(container.format.name.split(",")))


def display_rotation(path: str, frame: VideoFrame) -> int:
    """Rotation for display in degrees counterclockwise: 0, 90, 180 or 270.

    Args:
        path: The file, for messages.
        frame: A decoded frame.

    Raises:
        UnsupportedStreamError: Frames are displayed mirrored, stretched or rotated by another angle.
    """
    matrix = side_data(frame, "DISPLAYMATRIX")
    if matrix is None:
        return 0
    a, b, _, c, d = np.frombuffer(memoryview(matrix), np.int32)[:5].tolist()
    if bool(a) != bool(d) or bool(b) != bool(c) or bool(a) == bool(b):
        raise UnsupportedStreamError(path, "its frames are displayed turned askew", TURN_UPRIGHT)
    if (a, b) != (d, -c):
        raise UnsupportedStreamError(path, "its frames are displayed mirrored or stretched", PREPARE_FOLDER)
    return frame.rotation % 360


def upright_filters(path: str, frame: VideoFrame) -> tuple[bool, list[str]]:
    """The rotation from a decoded frame to the displayed one, which may also be mirrored.

    Args:
        path: The file, for messages.
        frame: A decoded frame.

    Returns:
        Whether rows and columns are swapped, and the FFmpeg filters to apply.

    Raises:
        UnsupportedStreamError: The angle is no multiple of 90 degrees.
    """
    matrix = side_data(frame, "DISPLAYMATRIX")
    if matrix is None:
        return False, []
    # A row vector times the matrix: x' = a x + c y, y' = b x + d y (ISO/IEC 14496-12, 6.2.2).
    a, b, _, c, d = np.frombuffer(memoryview(matrix), np.int32)[:5].tolist()
    if bool(a) != bool(d) or bool(b) != bool(c) or bool(a) == bool(b):
        cause = "its frames are displayed askew: turned by an angle that is no multiple of 90 degrees"
        raise UnsupportedStreamError(path, cause, "turn them upright with a video editor")
    swapped = bool(b)
    x, y = (c, b) if swapped else (a, d)
    filters = ["transpose=cclock_flip"] if swapped else []
    return swapped, filters + ["hflip"] * (x < 0) + ["vflip"] * (y < 0)
