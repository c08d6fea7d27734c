"""Side data of decoded frames."""

from __future__ import annotations

from typing import Any

from av.sidedata.sidedata import Type
from av.video.frame import VideoFrame


def _unlisted(kind: type[Type], value: object) -> Any:
    """A type that FFmpeg knows and PyAV does not list, for which it would raise."""
    member: Any = object.__new__(kind)
    member._name_, member._value_ = f"UNLISTED_{value}", value
    return member


Type._missing_ = classmethod(_unlisted)  # type: ignore[assignment]


def side_data(frame: VideoFrame, name: str) -> Any:
    """Side data of a frame by its name in PyAV, such as ``"MOTION_VECTORS"``; None where there is none."""
    return frame.side_data.get(name)
