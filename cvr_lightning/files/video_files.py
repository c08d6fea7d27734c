"""Which files are videos, by their names alone, and which of a folder's files are looked at."""

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
"""File names that count as videos, in any case. Where a folder holds one video several times, the first in
this order is read: what preparation writes comes before what is downloaded."""
ARCHIVERS = "__MACOSX"
"""What archives made on macOS hold beside the files: a folder of attributes that are named like them."""
DANGLING, NO_FILES, OTHERS = "links that lead nowhere", "pipes or devices", "not named as videos"
"""Reasons to leave out what is in a folder of videos."""

Identity = tuple[int, int]


def is_video(name: str) -> bool:
    """Whether a file name, with or without folders before it, ends like a video's."""
    # os.path.splitext takes longer, which is felt where there are half a million names.
    return name[name.rfind(".") :].lower() in _EXTENSIONS


_EXTENSIONS = frozenset(EXTENSIONS)


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a folder or leads to one; a link that leads to itself does not."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def is_file(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a file or leads to one; a link that leads nowhere or to itself does not."""
    try:
        return entry.is_file()
    except OSError:
        return False


def is_hidden(name: str) -> bool:
    """Whether a file or folder is no part of any data set."""
    return name.startswith(".") or name == ARCHIVERS


def note_hidden(folder: str, entry: os.DirEntry[str], left_out: LeftOut) -> None:
    """Note a hidden entry, if it may be taken for videos."""
    if is_video(entry.name) or entry.name == ARCHIVERS:
        left_out.add(folder, "hidden", entry.name)


def visible_files(root: Path, left_out: LeftOut) -> Iterator[str]:
    """Files below a folder at any depth, links followed; names are relative to it, with forward slashes.

    A link back to one of the folders above is not followed. Links that lead nowhere are files too: who reads
    them says so.

    Args:
        root: The folder.
        left_out: Takes note of what is not among them.
    """
    return _visible_files(root, "", (), left_out)


def _visible_files(root: Path, folder: str, above: tuple[Identity, ...], left_out: LeftOut) -> Iterator[str]:
    status = (root / folder).stat()
    identity = (status.st_dev, status.st_ino)
    if identity in above:
        left_out.add(os.path.dirname(folder), "links back to a folder above", os.path.basename(folder))
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
            else:  # a pipe or a device: to open it may wait for ever
                left_out.add(folder, NO_FILES, entry.name)


def list_folder(root: Path) -> tuple[list[str], LeftOut]:
    """Sorted names of the videos below a folder at any depth, and what else lies there."""
    left_out = LeftOut()
    names = []
    for name in visible_files(root, left_out):
        if is_video(name):
            names.append(name)
        else:
            left_out.add(os.path.dirname(name), OTHERS, os.path.basename(name))
    return sorted(names), left_out
