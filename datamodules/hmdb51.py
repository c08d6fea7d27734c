"""HMDB-51: 6,766 videos of 51 actions."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args

from cvr_lightning.datamodules.annotations import (
    Listed,
    annotation_files,
    annotation_folders,
    bad_line,
    check_count,
    read_lines,
)
from cvr_lightning.datamodules.errors import DatasetMismatchError
from cvr_lightning.datamodules.files import stem
from cvr_lightning.datamodules.sampling import check_choice
from cvr_lightning.datamodules.three_splits import Split, ThreeSplitDataModule

SOURCE = (
    "https://serre-lab.clps.brown.edu/resource/hmdb-a-large-human-motion-database/ (test_train_splits.rar)"
)
ANNOTATION_FOLDERS = ("testTrainMulti_7030_splits", "test_train_splits", "annotations", "splits", "")
VIDEO_FOLDERS = ("hmdb51_org", "hmdb51", "HMDB51", "videos")
PUBLISHED = (3570, 1530)
"""Number of training and test videos of each split."""

ClassOrder = Literal["alphabetical", "coviar"]

# fmt: off
COVIAR_ORDER = (
    "smile", "clap", "climb", "cartwheel", "pushup", "push", "somersault", "turn", "walk", "shake_hands",
    "pick", "chew", "jump", "pour", "smoke", "shoot_bow", "swing_baseball", "kick", "catch", "golf",
    "dribble", "draw_sword", "laugh", "ride_horse", "fall_floor", "stand", "sword", "shoot_gun", "kiss",
    "eat", "sword_exercise", "flic_flac", "handstand", "brush_hair", "pullup", "throw", "sit", "shoot_ball",
    "fencing", "run", "wave", "drink", "situp", "punch", "hit", "ride_bike", "kick_ball", "hug",
    "climb_stairs", "dive", "talk",
)
# fmt: on
"""The classes in CoViAR's order (data/datalists/hmdb51_split1_train.txt in its repository)."""

_UNUSED, _TRAIN, _TEST = "0", "1", "2"


class HMDB51(ThreeSplitDataModule):
    """HMDB-51 (Kuehne et al., ICCV 2011): 51 human motions from films and the web.

    - Format: XviD in AVI, height 240, 30 fps, about 3 s.
    - Annotations: ``<class>_test_splitN.txt`` in ``testTrainMulti_7030_splits``, ``test_train_splits``,
      ``annotations``, ``splits`` or the root itself. Each line: name, then 1 for training, 2 for test, 0 for
      unused.
    - Videos: ``<class>/<name>.avi`` in ``hmdb51_org``, ``hmdb51``, ``HMDB51``, ``videos`` or the root itself,
      in any container.
    - Split: three published ones, each with 70 training and 30 test videos per class.
    - Validation: whole films of the training list. A name has the film, the class and six properties, such as
      ``Glory_smile_h_nm_np1_fr_med_5``; a name of another form counts as its own film.

    See docs/datasets/hmdb51.md.

    Args:
        root: Folder of the data set.
        split: Split, 1 to 3; results are usually the mean over all three.
        class_order: Order of classes: ``alphabetical``, or ``coviar`` for checkpoints and scores of CoViAR's
        family.
        annotations: Folder of the lists, if not under the root.
        **options: Options of :class:`ThreeSplitDataModule` and :class:`CompressedVideoDataModule`.

    Raises:
        DatasetNotFoundError: The lists, or all listed videos, are missing.
        DatasetError: A list is damaged.
        DatasetMismatchError: A list belongs to none of the 51 classes.
    """

    layout = "<root>/testTrainMulti_7030_splits/<class>_test_split1.txt and <root>/<class>/<video>"

    def __init__(
        self,
        root: str | Path,
        split: Split = 1,
        class_order: ClassOrder = "alphabetical",
        annotations: str | Path | None = None,
        **options: Any,
    ) -> None:
        check_choice("class_order", class_order, get_args(ClassOrder))
        super().__init__(
            root=root,
            class_names=list(COVIAR_ORDER) if class_order == "coviar" else sorted(COVIAR_ORDER),
            split=split,
            **options,
        )
        self._files = annotation_files(
            type(self).__name__,
            annotation_folders(root, annotations, ANNOTATION_FOLDERS),
            [f"*_test_split{split}.txt"],
            SOURCE,
        )

    def video_folders(self, subset: str) -> Sequence[str]:
        """Folders that downloads and toolboxes create."""
        return VIDEO_FOLDERS

    def split_videos(self) -> tuple[list[Listed], list[Listed]]:
        """The lists of all classes, checked against the published numbers."""
        train: list[Listed] = []
        test: list[Listed] = []
        for file in self._files:
            name = file.name.removesuffix(f"_test_split{self.split}.txt")
            if name not in self.class_names:
                raise DatasetMismatchError(
                    f"{file}: {name!r} is not among the 51 classes; move the file away, or use --data Folder "
                    "for videos of your own"
                )
            self._read_list(file, name, train, test)
        for word, videos, published in zip(("training", "test"), (train, test), PUBLISHED, strict=True):
            where = f"{self._files[0].parent}, split {self.split}, {word}"
            check_count(type(self).__name__, where, len(videos), published)
        return train, test

    def recording(self, video: Listed) -> str:
        """The film that a video was cut from, or the video's own name if it has another form."""
        name = stem(video.name)
        properties = rf"_{self.class_names[video.label]}_[a-z]_[a-z]{{2}}_np\d+_[a-z]{{2}}_[a-z]{{3}}_\d+"
        match = re.fullmatch(rf"(.+?){properties}", name)
        return match[1] if match else name

    def _read_list(self, file: Path, class_name: str, train: list[Listed], test: list[Listed]) -> None:
        label = self.class_names.index(class_name)
        for number, line in read_lines(file):
            name, _, use = line.rpartition(" ")
            if not name or use not in (_UNUSED, _TRAIN, _TEST):
                raise bad_line(file, number, line, "'<video> 0', 1 or 2")
            if use != _UNUSED:
                (train if use == _TRAIN else test).append(Listed(f"{class_name}/{name.strip()}", label))
