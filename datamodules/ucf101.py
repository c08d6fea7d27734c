"""UCF-101: 13,320 videos of 101 actions."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cvr_lightning.datamodules.annotations import (
    Listed,
    annotation_files,
    annotation_folders,
    bad_line,
    check_count,
    read_lines,
)
from cvr_lightning.datamodules.errors import DatasetError
from cvr_lightning.datamodules.files import stem
from cvr_lightning.datamodules.three_splits import Split, ThreeSplitDataModule
from cvr_lightning.files.bounds import CLASSES

SOURCE = "https://www.crcv.ucf.edu/data/UCF101/UCF101TrainTestSplits-RecognitionTask.zip"
ANNOTATION_FOLDERS = ("ucfTrainTestlist", "annotations", "")
VIDEO_FOLDERS = ("UCF-101", "UCF101", "videos")
PUBLISHED = {1: (9537, 3783), 2: (9586, 3734), 3: (9624, 3696)}
"""Number of training and test videos of each split."""

_GROUP = re.compile(r"_(g\d+)_c\d+$")


class UCF101(ThreeSplitDataModule):
    """UCF-101 (Soomro et al., arXiv:1212.0402): 101 sports and everyday actions from YouTube.

    - Format: XviD in AVI, 320x240, 25 or 29.97 fps, about 7 s; many files have a single I-frame.
    - Annotations: ``classInd.txt``, ``trainlist0N.txt``, ``testlist0N.txt``, in ``ucfTrainTestlist``,
      ``annotations`` or the root itself.
    - Videos: ``<class>/<name>.avi`` in ``UCF-101``, ``UCF101``, ``videos`` or the root itself, in any
      container.
    - Split: three published ones; the first has 9,537 and 3,783 videos. The label is the folder in the list,
      since videos of ``HandstandPushups`` are named ``v_HandStandPushups``.
    - Validation: whole groups ``gXX`` of the training list; a group comes from one uploader.

    See docs/datasets/ucf101.md.

    Args:
        root: Folder of the data set.
        split: Split, 1 to 3; results are usually the mean over all three.
        annotations: Folder of the lists, if not under the root.
        **options: Options of :class:`ThreeSplitDataModule` and :class:`CompressedVideoDataModule`.

    Raises:
        DatasetNotFoundError: The lists, or all listed videos, are missing.
        DatasetError: A list is damaged.
    """

    layout = "<root>/ucfTrainTestlist/classInd.txt and <root>/UCF-101/<class>/<video>"

    def __init__(
        self,
        root: str | Path,
        split: Split = 1,
        annotations: str | Path | None = None,
        **options: Any,
    ) -> None:
        folders = annotation_folders(root, annotations, ANNOTATION_FOLDERS)
        (classes,) = annotation_files(type(self).__name__, folders, ["classInd.txt"], SOURCE)
        super().__init__(
            root=root,
            class_names=_read_classes(classes),
            split=split,
            **options,
        )
        self._annotations = classes.parent

    def video_folders(self, subset: str) -> Sequence[str]:
        """Folders that downloads and toolboxes create."""
        return VIDEO_FOLDERS

    def split_videos(self) -> tuple[list[Listed], list[Listed]]:
        """The lists of the split, checked against the published counts."""
        parts = []
        for word, published in zip(("train", "test"), PUBLISHED[self.split], strict=True):
            name = f"{word}list{self.split:02d}.txt"
            (file,) = annotation_files(type(self).__name__, [self._annotations], [name], SOURCE)
            parts.append(self._read_list(file))
            check_count(type(self).__name__, file, len(parts[-1]), published)
        return parts[0], parts[1]

    def recording(self, video: Listed) -> str:
        """The group ``gXX`` of a video, or its own name without a group."""
        match = _GROUP.search(stem(video.name))
        return match[1] if match else stem(video.name)

    def _read_list(self, file: Path) -> list[Listed]:
        # Case-insensitive: some lists write the class HandStandPushups, like its files.
        labels = {name.casefold(): label for label, name in enumerate(self.class_names)}
        videos = []
        for number, line in read_lines(file):
            # Lines of the training lists end with the class number.
            name = line.split()[0]
            folder = name.rpartition("/")[0].rpartition("/")[2]
            if folder.casefold() not in labels:
                raise bad_line(file, number, line, "<class>/<video> with a class of classInd.txt")
            videos.append(Listed(name, labels[folder.casefold()]))
        return videos


def _read_classes(file: Path) -> list[str]:
    names: list[str] = []
    for number, line in read_lines(file):
        index, _, name = line.partition(" ")
        if index != str(len(names) + 1) or not name:
            raise bad_line(file, number, line, f"class {len(names) + 1} as '<number> <name>'")
        names.append(name)
        if len(names) > CLASSES.value:
            raise bad_line(file, number, line, "one of the classes: there are too many")
    if not names:
        raise DatasetError(f"{file} is empty: download it again")
    return names
