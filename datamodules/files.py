"""The video files of a data set, found by name: one listing of its folders, no look at each file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from cvr_lightning.files.video_files import EXTENSIONS, is_video


class VideoFiles:
    """The videos of a folder and of the folders in it.

    A quarter of a million files are listed in seconds: names alone are looked at, and only an entry that is
    not named like a video is asked whether it is a folder. Hidden entries are left alone.

    Args:
        root: What names are relative to.
        folder: The folder to list, relative to the root; the root itself if empty.
    """

    def __init__(self, root: Path, folder: str = "") -> None:
        self._names: dict[str, list[str]] = {}
        for name in video_names(root, folder, depth=1):
            self._names.setdefault(stem(name), []).append(name)

    def find(self, listed: str) -> str | None:
        """Find a video wherever in the folder it lies and whatever its container.

        Args:
            listed: Name as an annotation file has it, case-sensitive: with or without an extension and
                folders. The last folder tells files of one name apart; ``_`` and blank are the same in it,
                and ``'``, ``(`` and ``)`` do not count.

        Returns:
            The name relative to the root, with forward slashes; None where there is no such video.
        """
        names = self._names.get(stem(listed), [])
        if len(names) < 2:
            return names[0] if names else None
        folder = _plain_folder(listed)
        return min(names, key=lambda name: (_plain_folder(name) != folder, _rank(name), name))


def stem(name: str) -> str:
    """The name of a video without its folders and its extension."""
    base = name.rpartition("/")[2]
    return base[: base.rfind(".")] if is_video(base) else base


def video_names(root: Path, folder: str, depth: int) -> Iterator[str]:
    """Visible videos of a folder and of ``depth`` levels of folders in it, relative to ``root``."""
    with os.scandir(root / folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            name = f"{folder}/{entry.name}" if folder else entry.name
            if is_video(entry.name):
                yield name
            elif depth and entry.is_dir():
                yield from video_names(root, name, depth - 1)


def _plain_folder(name: str) -> str:
    """The last folder of a name as the layouts in use agree on it."""
    folder = name.rpartition("/")[0].rpartition("/")[2]
    return folder.replace("_", " ").translate(_DROPPED)


_DROPPED = str.maketrans("", "", "'()")


def _rank(name: str) -> int:
    return EXTENSIONS.index(_extension(name))


def _extension(name: str) -> str:
    # os.path.splitext takes longer, which is felt where there are half a million names.
    return name[name.rfind(".") :].lower()
