"""Something-Something V2: 220,847 videos of 174 interactions with objects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

from cvr_lightning.datamodules.annotations import Listed, annotation_files, annotation_folders, check_count
from cvr_lightning.datamodules.errors import DatasetError, DatasetMismatchError
from cvr_lightning.datamodules.published import PublishedDataModule
from cvr_lightning.datamodules.sampling import check_choice
from cvr_lightning.files.bounds import CLASSES, LimitError, parse_json, read_text

SOURCE = "https://www.qualcomm.com/developer/software/something-something-v-2-dataset"
ANNOTATION_FOLDERS = ("annotations", "labels", "")
VIDEO_FOLDERS = ("20bn-something-something-v2", "something-something-v2", "videos")
FILE_WORDS = {"train": "train", "val": "validation", "test": "test"}
PUBLISHED = {"train": 168_913, "val": 24_777, "test": 27_157}

TestSubset = Literal["val", "test"]


class SomethingSomethingV2(PublishedDataModule):
    """Something-Something V2 (Goyal et al., ICCV 2017): hand-object interactions, independent of the object.

    - Format: VP9 in WebM, height 240, about 12 fps, 2 to 6 s. FFmpeg exports no motion vectors of VP9, so the
      videos must be prepared; prepared files take precedence over originals next to them.
    - Annotations: ``something-something-v2-{labels,train,validation,test}.json`` or
      ``{labels,train,validation,test}.json``, in ``annotations``, ``labels`` or the root itself.
    - Videos: ``<id>.webm`` in ``20bn-something-something-v2``, ``something-something-v2``, ``videos`` or the
      root itself, in any container.
    - Classes: the 174 templates in their published order.
    - Split: 168,913 training and 24,777 validation videos; testing uses validation, as usual, since the
      27,157 test videos have no labels.
    - Clips are never mirrored: "from left to right" and "from right to left" are different classes.

    See docs/datasets/ssv2.md.

    Args:
        root: Folder of the data set.
        annotations: Folder of the annotations, if not under the root.
        test_subset: Subset for test and prediction; ``test`` has no labels, so it can only be predicted.
        **options: Options of :class:`PublishedDataModule` and :class:`CompressedVideoDataModule`.

    Raises:
        DatasetNotFoundError: Annotations, or all listed videos, are missing.
        DatasetMismatchError: A template is not among the labels.
        DatasetError: An annotation file is damaged.
    """

    mirrorable = False
    layout = "<root>/labels/{labels,train,validation}.json and <root>/20bn-something-something-v2/<id>.webm"

    def __init__(
        self,
        root: str | Path,
        annotations: str | Path | None = None,
        test_subset: TestSubset = "val",
        **options: Any,
    ) -> None:
        check_choice("test_subset", test_subset, get_args(TestSubset))
        folders = annotation_folders(root, annotations, ANNOTATION_FOLDERS)
        labels = self._file("labels", folders)
        super().__init__(
            root=root,
            class_names=_read_classes(labels),
            sources={"train": "train", "val": "val", "test": test_subset},
            **options,
        )
        self._annotations = labels.parent

    def video_folders(self, subset: str) -> Sequence[str]:
        """Folders that the download creates."""
        return VIDEO_FOLDERS

    def listed_videos(self) -> Mapping[str, Sequence[Listed]]:
        """Lists of the subsets, checked against the published counts."""
        subsets = {}
        for subset in dict.fromkeys(self._sources.values()):
            file = self._file(FILE_WORDS[subset], [self._annotations])
            subsets[subset] = self._read_list(file, labeled=subset != "test")
            check_count(type(self).__name__, file, len(subsets[subset]), PUBLISHED[subset])
        return subsets

    def _file(self, word: str, folders: Sequence[Path]) -> Path:
        names = [f"something-something-v2-{word}.json", f"{word}.json"]
        (file,) = annotation_files(type(self).__name__, folders, names, SOURCE)
        return file

    def _read_list(self, file: Path, labeled: bool) -> list[Listed]:
        labels = {name: label for label, name in enumerate(self.class_names)}
        videos = []
        for number, entry in enumerate(_read_json(file, list), 1):
            try:
                template = entry["template"].replace("[", "").replace("]", "") if labeled else None
                video = str(entry["id"])
            except (KeyError, TypeError, AttributeError) as error:
                wanted = "an object with id and template" if labeled else "an object with an id"
                raise DatasetError(
                    f"{file}, entry {number}: {entry!r} is not {wanted}; download the file again"
                ) from error
            if template is not None and template not in labels:
                raise DatasetMismatchError(
                    f"{file}, entry {number}: the template {template!r} of video {video} is not in the "
                    "labels; keep the files of one download together"
                )
            videos.append(Listed(video, -1 if template is None else labels[template]))
        return videos


def _read_classes(file: Path) -> list[str]:
    """The templates ordered by their numbers, which the file stores as strings."""
    numbers = _read_json(file, dict)
    try:
        CLASSES.check(len(numbers))
        names = sorted(numbers, key=lambda name: int(numbers[name]))
        complete = [int(numbers[name]) for name in names] == list(range(len(names)))
    except LimitError as error:
        raise DatasetError(f"{file}: {error}") from error
    except (TypeError, ValueError, OverflowError):
        complete = False
    if not complete or not names:
        raise DatasetError(
            f"{file}: the numbers of the templates are not 0, 1, 2, ...; download the file again"
        )
    return names


def _read_json(file: Path, kind: type) -> Any:
    try:
        content = parse_json(read_text(file, "utf-8-sig"))
    except OSError as error:
        raise DatasetError(f"{file} cannot be read ({error.strerror})") from error
    except ValueError as error:  # includes UnicodeDecodeError
        raise DatasetError(f"{file} is not readable JSON ({error}): download it again") from error
    if not isinstance(content, kind):
        raise DatasetError(
            f"{file} contains a {type(content).__name__} instead of a {kind.__name__}: download it again"
        )
    return content
