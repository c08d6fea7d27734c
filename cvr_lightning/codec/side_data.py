"""Side data of decoded frames."""

from __future__ import annotations

from typing import Any

from av.sidedata.sidedata import Type
from av.video.frame import VideoFrame


def _unlisted(kind: type[Type], value: object) -> Any:
    """A placeholder for types that PyAV does not list; without it, PyAV raises."""
    member: Any = object.__new__(kind)
    member._name_, member._value_ = f"UNLISTED_{value}", value
    return member


Type._missing_ = classmethod(_unlisted)  # type: ignore[assignment]


def side_data(frame: VideoFrame, name: str) -> Any:
    """Side data of a frame by its PyAV name, such as ``"MOTION_VECTORS"``; None if absent."""
    return frame.side_data.get(name)
