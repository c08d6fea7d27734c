"""Video files by name, and which files of a folder are considered."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from cvr_lightning.files.left_out import LeftOut

# fmt: off
EXTENSIONS = (
    ".mp4", ".m4v", ".mov", ".mkv", ".avi", ".mpg", ".mpeg", ".webm", ".wmv", ".asf", ".flv", ".f4v", ".3gp",
    ".3g2", ".ts", ".mts", ".m2ts", ".m2t", ".vob", ".mxf", ".ogv", ".ogm", ".divx", ".xvid", ".dv", ".rm",
    ".rmvb", ".mpe", ".m1v", ".m2v", ".mj2", ".qt", ".gif", ".nut", ".wtv", ".amv", ".y4m", ".mjpg", ".mjpeg",
    ".ivf", ".h264", ".264", ".h265", ".265", ".hevc",
)
# fmt: on
"""Suffixes of video files, in any case. If a folder has a video in several files, the first suffix in this
order is read: prepared files come before downloaded ones."""
ARCHIVERS = "__MACOSX"
"""Folder of file attributes in archives made on macOS."""
DANGLING, NO_FILES, OTHERS = "linked to nothing", "not regular", "without a video suffix"
"""Reasons why entries of a video folder are left out."""

Identity = tuple[int, int]


def is_video(name: str) -> bool:
    """Whether a file name has a video suffix."""
    # os.path.splitext is slower, which matters for half a million names.
    return name[name.rfind(".") :].lower() in _EXTENSIONS


_EXTENSIONS = frozenset(EXTENSIONS)


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a folder or a link to one; a link to itself is not."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def is_file(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a file or a link to one; dangling and circular links are not."""
    try:
        return entry.is_file()
    except OSError:
        return False


def is_hidden(name: str) -> bool:
    """Whether a file or folder is hidden, and so not part of a data set."""
    return name.startswith(".") or name == ARCHIVERS


def note_hidden(folder: str, entry: os.DirEntry[str], left_out: LeftOut) -> None:
    """Record a hidden entry that might be mistaken for videos."""
    if is_video(entry.name) or entry.name == ARCHIVERS:
        left_out.add(folder, "hidden", entry.name)


def visible_files(root: Path, left_out: LeftOut) -> Iterator[str]:
    """Yield files below a folder at any depth, following links, as relative names with forward slashes.

    Links to a parent folder are not followed. Dangling links are yielded; reading them raises an error.

    Args:
        root: The folder.
        left_out: Records other entries.
    """
    return _visible_files(root, "", (), left_out)


def _visible_files(root: Path, folder: str, above: tuple[Identity, ...], left_out: LeftOut) -> Iterator[str]:
    status = (root / folder).stat()
    identity = (status.st_dev, status.st_ino)
    if identity in above:
        left_out.add(os.path.dirname(folder), "linked to a folder above", os.path.basename(folder))
        return
    with os.scandir(root / folder) as entries:
        for entry in entries:
            name = f"{folder}/{entry.name}" if folder else entry.name
            if is_hidden(entry.name):
                note_hidden(folder, entry, left_out)
            elif is_folder(entry):
                yield from _visible_files(root, name, (*above, identity), left_out)
            elif is_file(entry) or entry.is_symlink():
                yield name
            else:  # a pipe or device: opening it may block forever
                left_out.add(folder, NO_FILES, entry.name)


def list_folder(root: Path) -> tuple[list[str], LeftOut]:
    """List the videos below a folder at any depth, sorted, and a summary of other files."""
    left_out = LeftOut()
    names = []
    for name in visible_files(root, left_out):
        if is_video(name):
            names.append(name)
        else:
            left_out.add(os.path.dirname(name), OTHERS, os.path.basename(name))
    return sorted(names), left_out
