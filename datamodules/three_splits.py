"""Data sets with three published training and test splits: UCF-101 and HMDB-51."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from lightning_utilities.core.rank_zero import rank_zero_info, rank_zero_only

from cvr_lightning.datamodules.annotations import Listed
from cvr_lightning.datamodules.errors import DatasetMismatchError
from cvr_lightning.datamodules.published import PublishedDataModule
from cvr_lightning.datamodules.sampling import check_choice, check_seed

log = logging.getLogger(__name__)

Split = Literal[1, 2, 3]


class ThreeSplitDataModule(PublishedDataModule):
    """Training and test lists of one split, with a validation subset held out from training.

    Clips of one recording look alike, so whole recordings are held out, in the order of ``split_seed``, as
    long as they fit into ``val_fraction`` of their class, at least the smallest. Results are usually the mean
    over the three splits; name the split if only one is tested.

    Args:
        root: Folder of the data set.
        class_names: Class names by index.
        split: Split, 1 to 3.
        val_fraction: Fraction of each class's training videos held out for validation; 0 trains on all of
            them and validates on the test subset, so no epoch may be selected by that score.
        split_seed: Seed of the validation subset.
        **options: Options of :class:`PublishedDataModule` and :class:`CompressedVideoDataModule`.

    Raises:
        ValueError: An option is out of range.
        DatasetMismatchError: A class has a single training recording, so none can be held out.
    """

    def __init__(
        self,
        root: str | Path,
        class_names: list[str],
        split: Split = 1,
        val_fraction: float = 0.1,
        split_seed: int = 0,
        **options: Any,
    ) -> None:
        check_choice("split", split, get_args(Split))
        check_seed("split_seed", split_seed)
        if not 0 <= val_fraction < 1:
            raise ValueError(f"val_fraction={val_fraction} must be in [0, 1)")
        val = "val" if val_fraction else "test"
        sources = {"train": "train", "val": val, "test": "test"}
        super().__init__(root=root, class_names=class_names, sources=sources, **options)
        self.split = split
        self.val_fraction = val_fraction
        self.split_seed = split_seed

    @property
    def protocol(self) -> dict[str, Any]:
        """How the test subset is evaluated, with its split."""
        return super().protocol | {"split": self.split}

    @abstractmethod
    def split_videos(self) -> tuple[list[Listed], list[Listed]]:
        """Training and test lists of the split."""

    @abstractmethod
    def recording(self, video: Listed) -> str:
        """Name of the recording a video was cut from, unique within its class."""

    def listed_videos(self) -> Mapping[str, Sequence[Listed]]:
        """The training list without the validation videos, the validation videos, and the test list."""
        train, test = self.split_videos()
        if not self.val_fraction:
            self._warn_of_test_validation()
            return {"train": train, "test": test}
        held = self._held_out(train)
        rank_zero_info(
            f"{type(self).__name__} split {self.split}: {len(held)} of the {len(train)} training videos, "
            f"whole recordings chosen by split_seed={self.split_seed}, are held out for validation"
        )
        return {
            "train": [video for video in train if video not in held],
            "val": [video for video in train if video in held],
            "test": test,
        }

    @rank_zero_only
    def _warn_of_test_validation(self) -> None:
        log.warning(
            "%s split %d: val_fraction=0, so validation reads the test subset; report last.ckpt, since "
            "best.ckpt is chosen by the test score",
            type(self).__name__,
            self.split,
        )

    def _held_out(self, videos: Sequence[Listed]) -> set[Listed]:
        recordings: dict[int, dict[str, list[Listed]]] = {}
        for video in videos:
            recordings.setdefault(video.label, {}).setdefault(self.recording(video), []).append(video)
        held: set[Listed] = set()
        for label, groups in sorted(recordings.items()):
            if len(groups) < 2:
                raise DatasetMismatchError(
                    f"{self.root}: the training videos of class {self.class_names[label]!r} come from one "
                    "recording, so none can be held out; set --data.val_fraction=0 to validate on the test "
                    "subset"
                )
            held.update(self._choose(label, [groups[name] for name in sorted(groups)]))
        return held

    def _choose(self, label: int, groups: Sequence[list[Listed]]) -> list[Listed]:
        """Whole groups that fit into the fraction of their class, or the smallest group if none fits."""
        videos = sum(map(len, groups))
        fraction = min(round(videos * self.val_fraction), videos - 1)
        chosen: list[Listed] = []
        for place in np.random.default_rng((self.split_seed, label)).permutation(len(groups)):
            if len(chosen) + len(groups[place]) <= fraction:
                chosen += groups[place]
        return chosen or min(groups, key=len)
