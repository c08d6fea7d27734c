"""Which files are videos, by their names alone."""

from __future__ import annotations

EXTENSIONS = (".mp4", ".m4v", ".mov", ".mkv", ".avi", ".mpg", ".mpeg", ".webm")
"""File names that count as videos, in any case."""


def is_video(name: str) -> bool:
    """Whether a file name, with or without folders before it, ends like a video's."""
    return name.lower().endswith(EXTENSIONS)
