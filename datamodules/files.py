"""Video files of a data set by name, from one listing of its folders."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path

from lightning_utilities.core.rank_zero import rank_zero_only

from cvr_lightning.files.left_out import LeftOut
from cvr_lightning.files.video_files import (
    DANGLING,
    EXTENSIONS,
    NO_FILES,
    OTHERS,
    is_file,
    is_folder,
    is_hidden,
    is_video,
    note_hidden,
    visible_files,
)

log = logging.getLogger(__name__)


@rank_zero_only
def report_left_out(data_set: str, root: Path, left_out: LeftOut) -> None:
    """Log a line about files that a data set does not read, if any."""
    if left_out:
        log.warning("%s %s: %s", data_set, root, left_out)


class VideoFiles:
    """The videos in a folder and its subfolders.

    Listing a quarter of a million files takes seconds: only names are used, and only entries without a video
    suffix are checked for being folders. Hidden entries are ignored.

    Args:
        root: Root of the names.
        folder: Folder to list, relative to the root; the root itself if empty.
    """

    def __init__(self, root: Path, folder: str = "") -> None:
        self._names: dict[str, list[str]] = {}
        for name in video_names(root, folder, depth=1):
            self._names.setdefault(stem(name), []).append(name)

    def find(self, listed: str) -> str | None:
        """Find a video in any of the folders and in any container.

        Args:
            listed: Name in an annotation file, case-sensitive, with or without extension and folders. The
                last folder distinguishes files of the same name; in it ``_`` equals a blank, and ``'``, ``(``
                and ``)`` are ignored.

        Returns:
            Name relative to the root, with forward slashes; None if not found.
        """
        names = self._names.get(stem(listed), [])
        if len(names) < 2:
            return names[0] if names else None
        folder = _plain_folder(listed)
        return min(names, key=lambda name: (_plain_folder(name) != folder, _rank(name), name))


def stem(name: str) -> str:
    """A video's name without folders and extension."""
    base = name.rpartition("/")[2]
    return base[: base.rfind(".")] if is_video(base) else base


def video_names(root: Path, folder: str, depth: int) -> Iterator[str]:
    """Yield visible videos of a folder and ``depth`` levels of subfolders, relative to ``root``."""
    with os.scandir(root / folder) as entries:
        for entry in entries:
            if is_hidden(entry.name):
                continue
            name = f"{folder}/{entry.name}" if folder else entry.name
            if is_video(entry.name):
                yield name
            elif depth and is_folder(entry):
                yield from video_names(root, name, depth - 1)


def folder_names(folder: Path) -> list[str]:
    """Sorted names of visible subfolders."""
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if not is_hidden(entry.name) and is_folder(entry))


def list_videos(root: Path, folder: str, left_out: LeftOut) -> list[str]:
    """Sorted names of the videos directly in a folder; empty if it does not exist.

    Args:
        root: Folder of the data set.
        folder: Folder to list, relative to the root.
        left_out: Records other entries.
    """
    if not (root / folder).is_dir():
        return []
    videos = []
    with os.scandir(root / folder) as entries:
        for entry in entries:
            if is_hidden(entry.name):
                note_hidden(folder, entry, left_out)
            elif is_folder(entry):
                for name in visible_files(Path(entry.path), left_out=LeftOut()):
                    left_out.add(folder, "in sub-folders", f"{entry.name}/{name}")
            elif not is_video(entry.name):
                left_out.add(folder, OTHERS, entry.name)
            elif not is_file(entry):
                left_out.add(folder, DANGLING if entry.is_symlink() else NO_FILES, entry.name)
            else:
                videos.append(entry.name)
    return sorted(videos)


def _plain_folder(name: str) -> str:
    """Normalized last folder of a name, equal in all known layouts."""
    folder = name.rpartition("/")[0].rpartition("/")[2]
    return folder.replace("_", " ").translate(_DROPPED)


_DROPPED = str.maketrans("", "", "'()")


def _rank(name: str) -> int:
    return EXTENSIONS.index(_extension(name))


def _extension(name: str) -> str:
    # os.path.splitext is slower, which matters for half a million names.
    return name[name.rfind(".") :].lower()
