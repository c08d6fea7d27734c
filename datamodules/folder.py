"""Any folder of labeled videos."""

from __future__ import annotations

import logging
import os
from collections.abc import Collection, Mapping
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np

from cvr_lightning.datamodules.base import CompressedVideoDataModule
from cvr_lightning.datamodules.dataset import VideoList
from cvr_lightning.datamodules.errors import DatasetMismatchError, DatasetNotFoundError
from cvr_lightning.datamodules.files import folder_names, list_videos, report_left_out
from cvr_lightning.datamodules.sampling import check_seed
from cvr_lightning.files.left_out import LeftOut
from cvr_lightning.files.video_files import (
    EXTENSIONS,
    is_folder,
    is_hidden,
    is_video,
    note_hidden,
    visible_files,
)

log = logging.getLogger(__name__)

LAYOUT = "<root>/{train,val,test}/<class>/<video>, or <root>/<class>/<video>"

SUBSETS = ("train", "val", "test")

Labeled = list[tuple[str, int]]
"""(name, class index) of each video of a subset."""


class Folder(CompressedVideoDataModule):
    """Videos in one folder per class.

    Two layouts are supported:

    - ``<root>/{train,val,test}/<class>/<video>``: the given split. Without ``test`` the validation subset is
      tested, without ``val`` a fraction of each training class is held out, as the log and ``protocol`` say.
      Without ``train`` the other subsets can be scored, but not trained on.
    - ``<root>/<class>/<video>``: split by ``split_seed``, each class in the same proportions. Classes may be
      named train, val or test if their folders contain videos and no folders.

    Class indices follow the sorted names of the class folders (of ``train`` if it exists). Files are selected
    by their suffix; the log has one line about what is left out.

    Args:
        root: Folder of the data set.
        val_fraction: Fraction of each class held out for validation if there is no ``val`` folder.
        test_fraction: Fraction of each class held out for testing in the flat layout; 0 tests on validation.
        split_seed: Seed of these splits.
        **options: Options of :class:`CompressedVideoDataModule`.

    Raises:
        DatasetNotFoundError: The folder, its classes or their videos are missing.
        DatasetMismatchError: ``val`` or ``test`` has a class that ``train`` lacks.
    """

    def __init__(
        self,
        root: str | Path,
        val_fraction: float = 0.1,
        test_fraction: float = 0.1,
        split_seed: int = 0,
        **options: Any,
    ) -> None:
        if not (val_fraction > 0 and test_fraction >= 0 and val_fraction + test_fraction < 1):
            raise ValueError(
                f"val_fraction={val_fraction} must be positive, test_fraction={test_fraction} not negative, "
                "and both must leave something to train on"
            )
        check_seed("split_seed", split_seed)
        self._subsets = _subsets(Path(root))
        super().__init__(root=root, class_names=self._find_class_names(Path(root)), **options)
        self.val_fraction = val_fraction
        self.test_fraction = test_fraction
        self.split_seed = split_seed
        self._origin = {subset: subset for subset in SUBSETS}

    @property
    def protocol(self) -> dict[str, Any]:
        """How the test subset is evaluated; ``subset`` names the videos that were actually tested.

        If they were held out, ``split`` is the seed.
        """
        protocol = super().protocol | {"subset": self._origin["test"]}
        return protocol | {"split": self.split_seed} if self._origin["test"] not in SUBSETS else protocol

    @property
    def flat(self) -> bool:
        """Whether the root contains the class folders directly."""
        return not self._subsets

    def scan(self) -> Mapping[str, VideoList]:
        """List the videos of each subset; see :class:`Folder`."""
        left_out = LeftOut()
        if self._subsets:
            _note_others(self.root, "", self._subsets, left_out)
        subsets = {subset: self._list_subset(subset, left_out) for subset in self._subsets or ("",)}
        subsets = {subset or "train": pairs for subset, pairs in subsets.items()}
        report_left_out(type(self).__name__, self.root, left_out)
        self._hold_out(subsets)
        return {
            subset: VideoList([name for name, _ in pairs], [label for _, label in pairs])
            for subset, pairs in subsets.items()
        }

    def _find_class_names(self, root: Path) -> list[str]:
        if not root.is_dir():
            raise self._missing(root, "the folder does not exist")
        if "train" in self._subsets:
            return folder_names(root / "train")
        names = sorted({name for subset in self._subsets or ("",) for name in folder_names(root / subset)})
        if not names:
            problem = "there are no class folders"
            if any(is_video(entry.name) for entry in os.scandir(root)):
                problem += "; cvr classify FOLDER --checkpoint CKPT labels videos without them"
            raise self._missing(root, problem)
        if set(names) <= set(SUBSETS):
            raise self._missing(root, f"{' and '.join(names)} must hold a folder for each class")
        return names

    def _list_subset(self, subset: str, left_out: LeftOut) -> Labeled:
        folder = self.root / subset
        unknown = sorted(set(folder_names(folder)) - set(self.class_names))
        if unknown:
            raise DatasetMismatchError(
                f"{folder}: class {unknown[0]!r} has no folder in {self.root / 'train'}; "
                f"add training videos of it or remove it"
            )
        _note_others(self.root, subset, self.class_names, left_out)
        pairs = []
        for label, name in enumerate(self.class_names):
            prefix = f"{subset}/{name}" if subset else name
            videos = list_videos(self.root, prefix, left_out)
            if not videos and subset in ("", "train"):
                problem = f"class {name!r} has no videos ({', '.join(sorted(EXTENSIONS))})"
                raise self._missing(folder / name, f"{problem}; {left_out}" if left_out else problem)
            pairs += [(f"{prefix}/{video}", label) for video in videos]
        if not pairs:
            raise self._missing(folder, "there are no videos")
        return pairs

    def _hold_out(self, subsets: dict[str, Labeled]) -> None:
        """Create the missing subsets by holding out videos, and log it."""
        subsets.setdefault("train", [])
        if self.flat and self.test_fraction:
            subsets["train"], subsets["test"] = self._split(subsets["train"], self.test_fraction, "test")
        if "val" not in subsets and not subsets["train"]:
            subsets["val"] = []
        if "val" not in subsets:
            left = 1 - self.test_fraction if self.flat else 1.0
            subsets["train"], subsets["val"] = self._split(subsets["train"], self.val_fraction, "val", left)
        if "test" not in subsets:
            subsets["test"] = subsets["val"]
            self._origin["test"] = self._origin["val"]
            log.warning(
                "%s has no test subset: testing uses the validation subset (%s)",
                self.root,
                self._origin["val"],
            )

    def _split(
        self, pairs: Labeled, fraction: float, subset: str, left: float = 1.0
    ) -> tuple[Labeled, Labeled]:
        """Divide into (kept, held out), each class in the same proportion, at least one video each.

        Args:
            pairs: The videos to divide.
            fraction: Fraction of all videos to hold out.
            subset: Subset that the held-out videos are for.
            left: Fraction of all videos that remains.
        """
        kept: Labeled = []
        held: Labeled = []
        for label, group in groupby(pairs, itemgetter(1)):  # sorted by class
            videos = list(group)
            count = max(1, round(len(videos) * fraction / left))
            if count >= len(videos):
                raise DatasetMismatchError(
                    f"{self.root}: class {self.class_names[label]!r} has too few videos to hold one out for "
                    f"{subset}; add videos, or provide the subsets as {LAYOUT}"
                )
            order = np.random.default_rng((self.split_seed, label)).permutation(len(videos))
            held += [videos[i] for i in sorted(order[:count])]
            kept += [videos[i] for i in sorted(order[count:])]
        self._origin[subset] = f"{fraction:.0%} of the videos of each class, held out by split_seed"
        log.info(
            "%s has no %s folder: %d videos, %s=%d",
            *(self.root, subset, len(held), self._origin[subset], self.split_seed),
        )
        return kept, held

    def _missing(self, folder: Path, problem: str) -> DatasetNotFoundError:
        return DatasetNotFoundError.describe(type(self).__name__, folder, problem, LAYOUT)


def _subsets(root: Path) -> tuple[str, ...]:
    """The subsets in the root: folders of these names with class folders in them."""
    return tuple(subset for subset in SUBSETS if (root / subset).is_dir() and folder_names(root / subset))


def _note_others(root: Path, folder: str, known: Collection[str], left_out: LeftOut) -> None:
    """Record entries besides the known folders."""
    with os.scandir(root / folder) as entries:
        for entry in entries:
            if is_hidden(entry.name):
                note_hidden(folder, entry, left_out)
            elif is_folder(entry):
                count = 0 if entry.name in known else len(list(visible_files(Path(entry.path), LeftOut())))
                if count:
                    left_out.add(folder, f"in folders beside {', '.join(known)}", entry.name, count)
            elif is_video(entry.name):
                left_out.add(folder, "beside the class folders", entry.name)
