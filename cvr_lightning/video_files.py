"""Which files of a folder are videos."""

from __future__ import annotations

from pathlib import PurePath

EXTENSIONS = frozenset({".avi", ".mp4", ".mkv", ".mov", ".m4v", ".mpg", ".mpeg", ".webm"})
"""File names that count as videos, in any case."""


def named_as_video(path: PurePath) -> bool:
    """Whether the name is that of a visible video; the file itself is not looked at."""
    return path.suffix.lower() in EXTENSIONS and not path.name.startswith(".")
