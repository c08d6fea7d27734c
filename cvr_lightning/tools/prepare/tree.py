"""The contents of a folder of videos, and the videos of one job of several."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from cvr_lightning.codec.prepared.recipe import SUFFIX
from cvr_lightning.errors import PrepareError
from cvr_lightning.files.left_out import LeftOut
from cvr_lightning.files.video_files import OTHERS, is_video, visible_files

ANNOTATIONS = frozenset({".csv", ".json", ".txt"})
"""Suffixes of annotation files, which are copied: lists of videos and labels."""


@dataclass(frozen=True)
class Tree:
    """The visible files of a folder, following links; names are sorted and relative to it.

    Attributes:
        videos: Files with a video suffix, broken links included.
        annotations: Lists of videos and labels.
        left_out: Other files and hidden files.
    """

    videos: tuple[str, ...]
    annotations: tuple[str, ...]
    left_out: LeftOut


def read_tree(root: Path) -> Tree:
    """List a folder.

    Raises:
        PrepareError: The folder does not exist, cannot be listed, holds no videos, or holds two videos that
            would get the same name.
    """
    if not root.is_dir():
        raise PrepareError(f"{root}: no such folder; give the folder that holds the videos")
    left_out = LeftOut()
    try:
        files = sorted(visible_files(root, left_out))
    except OSError as error:
        raise PrepareError(
            f"{error.filename}: cannot be listed ({error.strerror}); allow it, or take it out of {root}"
        ) from error
    videos = tuple(name for name in files if is_video(name))
    annotations = tuple(name for name in files if Path(name).suffix.lower() in ANNOTATIONS)
    if not videos:
        raise PrepareError(f"{root}: there are no videos in it; give the folder that holds them")
    _refuse_collisions(root, videos)
    for name in sorted({*files} - {*videos} - {*annotations}):
        left_out.add(os.path.dirname(name), OTHERS, os.path.basename(name))
    return Tree(videos, annotations, left_out)


def _refuse_collisions(root: Path, videos: tuple[str, ...]) -> None:
    first_of: dict[Path, str] = {}
    for name in videos:
        target = Path(name).with_suffix(SUFFIX)
        other = first_of.setdefault(target, name)
        if other != name:
            raise PrepareError(
                f"{root}: {other} and {name} would both become {target.as_posix()}; rename or remove one"
            )


@dataclass(frozen=True)
class ArrayJob:
    """One of several jobs that split the videos of a folder, such as the tasks of a job array.

    Attributes:
        number: Counted from 1.
        count: Number of jobs.
    """

    number: int = 1
    count: int = 1

    def __str__(self) -> str:
        return f"{self.number}-of-{self.count}"

    def of(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """The names of this job: every ``count``-th, so each belongs to exactly one job."""
        return names[self.number - 1 :: self.count]
