"""Kinetics-400 and Kinetics-600, in the layouts in common use."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple, get_args

from lightning_utilities.core.rank_zero import rank_zero_info

from cvr_lightning.datamodules.annotations import (
    Listed,
    annotation_files,
    annotation_folders,
    bad_line,
    read_lines,
)
from cvr_lightning.datamodules.errors import DatasetError, DatasetMismatchError
from cvr_lightning.datamodules.published import PublishedDataModule
from cvr_lightning.datamodules.sampling import check_choice
from cvr_lightning.files.printable import counted

ANNOTATION_FOLDERS = ("annotations", "")
WORDS = {"train": ("train",), "val": ("val", "validate", "validation"), "test": ("test",)}
"""Names of each subset in files, folders and the column ``split``."""

_DIGITS = 9  # most digits of a class number
TestSubset = Literal["val", "test"]


class Video(NamedTuple):
    """A line of an annotation file; the label is a class name, a number, or None."""

    name: str
    label: str | int | None


class Kinetics(PublishedDataModule):
    """Base class of :class:`Kinetics400` and :class:`Kinetics600`.

    - Format: as downloaded from YouTube, mostly H.264 in mp4, 10 s; preparation makes them uniform.
    - Videos: ``<id>_<start>_<end>.mp4``, seconds in six digits, in any container; in one folder or in class
      folders of any spelling (blanks, ``_``, without ``'()``); in ``train`` and ``val``, ``videos_train`` and
      ``videos_val``, ``videos``, or the root itself.
    - Annotations, in ``annotations`` or the root itself, for each subset the first of: the official CSV
      ``label,youtube_id,time_start,time_end,split``, as ``train.csv``, ``kinetics_train.csv``,
      ``kinetics400_train.csv``, ``kinetics-400_train.csv`` or ``k400_train.csv``; a list of ``<path>
      <number>``, as ``train.csv`` (SlowFast, VideoMAE), ``kinetics400_train_list_videos.txt`` (mmaction2),
      ``train_list.txt`` or ``train.txt``. Validation may be called val, validate or validation.
    - Classes: with CSVs the sorted names, words separated by blanks; with lists the given numbers, named by
      the class folders in the lists if there are any. Checkpoints store the mapping.
    - Split: testing uses the validation subset, as usual.

    Each copy of the data set lacks different videos: the log has the number of videos found, and results name
    unreadable ones.

    Args:
        root: Folder of the data set.
        annotations: Folder of the annotations, if not under the root.
        test_subset: Subset for test and prediction; ``test`` needs its annotations, with or without labels.
        **options: Options of :class:`PublishedDataModule` and :class:`CompressedVideoDataModule`.

    Raises:
        DatasetNotFoundError: Annotations, or all listed videos, are missing.
        DatasetMismatchError: The annotations are of another subset or data set.
        DatasetError: An annotation file is damaged.
    """

    layout = "<root>/annotations/{train,val}.csv and <root>/{train,val}/[<class>/]<id>_<start>_<end>.mp4"
    number_of_classes: ClassVar[int]

    def __init__(
        self,
        root: str | Path,
        annotations: str | Path | None = None,
        test_subset: TestSubset = "val",
        **options: Any,
    ) -> None:
        check_choice("test_subset", test_subset, get_args(TestSubset))
        folders = annotation_folders(root, annotations, ANNOTATION_FOLDERS)
        subsets = {
            subset: self._read(subset, folders) for subset in dict.fromkeys(("train", "val", test_subset))
        }
        labeled = [*subsets["train"], *subsets["val"]]
        self._check_classes(folders[0], labeled)
        class_names, labels = _number_classes(labeled)
        super().__init__(
            root=root,
            class_names=class_names,
            sources={"train": "train", "val": "val", "test": test_subset},
            **options,
        )
        self._listed = {subset: _labeled(subset, videos, labels) for subset, videos in subsets.items()}

    def _check_classes(self, folder: Path, videos: Sequence[Video]) -> None:
        """Refuse an unexpected number of classes, before creating a list of that length."""
        names = len({video.label for video in videos if isinstance(video.label, str)})
        numbers = 1 + max((video.label for video in videos if isinstance(video.label, int)), default=-1)
        if max(names, numbers) > self.number_of_classes:
            raise DatasetMismatchError(
                f"{folder}: the annotations have {max(names, numbers)} classes, {type(self).__name__} has "
                f"{self.number_of_classes}; choose another --data or other --data.annotations"
            )

    def video_folders(self, subset: str) -> Sequence[str]:
        """Folders that downloads and toolboxes create."""
        return [*(form % word for form in ("%s", "videos_%s") for word in WORDS[subset]), "videos"]

    def listed_videos(self) -> Mapping[str, Sequence[Listed]]:
        """Videos of the annotation files."""
        return self._listed

    def _read(self, subset: str, folders: Sequence[Path]) -> list[Video]:
        number = self.number_of_classes
        prefixes = ("", "kinetics_", f"kinetics{number}_", f"kinetics-{number}_", f"k{number}_")
        suffixes = (".csv", "_list_videos.txt", "_list.txt", ".txt")
        patterns = [f"{a}{word}{z}" for z in suffixes for a in prefixes for word in WORDS[subset]]
        source = f"https://s3.amazonaws.com/kinetics/{number}/annotations/{subset}.csv"
        (file,) = annotation_files(type(self).__name__, folders, patterns, source)
        videos = read_annotations(file, subset)
        rank_zero_info(f"{type(self).__name__} {subset}: {file} lists {counted(len(videos), 'video')}")
        return videos


class Kinetics400(Kinetics):
    """Kinetics-400 (Kay et al., arXiv:1705.06950): 10 s clips from YouTube of 400 human actions.

    See :class:`Kinetics` for formats and layouts, docs/datasets/kinetics.md for counts and protocols.
    """

    number_of_classes = 400


class Kinetics600(Kinetics):
    """Kinetics-600 (Carreira et al., arXiv:1808.01340): 10 s clips from YouTube of 600 human actions.

    See :class:`Kinetics` for formats and layouts, docs/datasets/kinetics.md for counts and protocols.
    """

    number_of_classes = 600


def read_annotations(file: Path, subset: str) -> list[Video]:
    """Read an official CSV, detected by its header, or a list of ``<path> <number>``.

    Raises:
        DatasetError: The file is empty, or a line is neither.
        DatasetMismatchError: A video of the CSV belongs to another subset.
    """
    lines = list(read_lines(file))
    if not lines:
        raise DatasetError(f"{file} is empty: download it again")
    header = _cells(file, *lines[0])
    if "youtube_id" in header:
        return [_from_csv(file, number, line, header, subset) for number, line in lines[1:]]
    return [_from_list(file, number, line, subset) for number, line in lines]


def _cells(file: Path, number: int, line: str) -> list[str]:
    try:
        return next(csv.reader([line]))
    except csv.Error as error:
        raise bad_line(file, number, line, f"a line of a CSV file ({error})") from error


def _from_csv(file: Path, number: int, line: str, header: list[str], subset: str) -> Video:
    row = dict(zip(header, _cells(file, number, line), strict=False))
    try:
        start, end = (int(float(row[name])) for name in ("time_start", "time_end"))
        name = f"{row['youtube_id']}_{start:06d}_{end:06d}"
    except (KeyError, ValueError, OverflowError) as error:
        raise bad_line(file, number, line, f"a line of {','.join(header)}") from error
    if row.get("split", subset) not in WORDS[subset]:
        raise DatasetMismatchError(
            f"{file}, line {number}: split {row['split']!r} among the annotations of {subset}; put "
            "the file of that subset there"
        )
    label = row.get("label", "").replace("_", " ")
    if not label and subset != "test":
        raise bad_line(file, number, line, "a line with a label")
    return Video(f"{label}/{name}", label or None)


def _from_list(file: Path, number: int, line: str, subset: str) -> Video:
    name, _, label = line.rpartition(" ")
    if name and label.isascii() and label.isdigit() and len(label) <= _DIGITS:
        return Video(name.strip(), int(label))
    if subset == "test" and not name:
        return Video(line, None)
    raise bad_line(file, number, line, "'<path> <number>', nor the header label,youtube_id,...")


def _labeled(subset: str, videos: Sequence[Video], labels: Mapping[str | int | None, int]) -> list[Listed]:
    for label in dict.fromkeys(video.label for video in videos):
        if label not in labels:
            raise DatasetMismatchError(
                f"class {label!r} of {subset} is not among the classes of train and val: keep the "
                "annotations of one release together"
            )
    return [Listed(video.name, labels[video.label]) for video in videos]


def _number_classes(videos: Sequence[Video]) -> tuple[list[str], dict[str | int | None, int]]:
    """Class names by index, and the index of each label in the files.

    Raises:
        DatasetMismatchError: One subset has names and another has numbers.
    """
    names = sorted({video.label for video in videos if isinstance(video.label, str)})
    numbers = {video.label for video in videos if isinstance(video.label, int)}
    if names and numbers:
        raise DatasetMismatchError(
            "one annotation file has class names, another numbers, which cannot be matched: keep files of "
            "one kind for train and val"
        )
    labels: dict[str | int | None, int] = {None: -1}
    if names:
        return names, labels | {name: index for index, name in enumerate(names)}
    if not numbers:
        raise DatasetError("none of the annotation files of train and val has a label: download them again")
    return _folder_names(videos, max(numbers) + 1), labels | {number: number for number in numbers}


def _folder_names(videos: Sequence[Video], count: int) -> list[str]:
    """Class folders by number, with blanks for ``_``; numbers if folders are not classes."""
    folders: dict[int, set[str]] = {}
    for video in videos:
        if isinstance(video.label, int):
            folder = video.name.rpartition("/")[0].rpartition("/")[2]
            folders.setdefault(video.label, set()).add(folder.replace("_", " "))
    names = {label: found.pop() for label, found in folders.items() if len(found) == 1}
    if len(set(names.values())) < len(folders) or "" in names.values():
        return [str(number) for number in range(count)]
    return [names.get(number, str(number)) for number in range(count)]
