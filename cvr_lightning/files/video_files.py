"""Which files are videos, by their names alone."""

from __future__ import annotations

EXTENSIONS = (".mp4", ".m4v", ".mov", ".mkv", ".avi", ".mpg", ".mpeg", ".webm")
"""File names that count as videos, in any case. Where a folder holds one video several times, the first in
this order is read: what preparation writes comes before what is downloaded."""


def is_video(name: str) -> bool:
    """Whether a file name, with or without folders before it, ends like a video's."""
    return name.lower().endswith(EXTENSIONS)
