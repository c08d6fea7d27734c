"""Videos without labels, for pretraining."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from cvr_lightning.datamodules.base import CompressedVideoDataModule
from cvr_lightning.datamodules.dataset import VideoList
from cvr_lightning.datamodules.errors import DatasetNotFoundError
from cvr_lightning.datamodules.files import report_left_out
from cvr_lightning.datamodules.sampling import check_seed
from cvr_lightning.files.printable import counted
from cvr_lightning.files.video_files import EXTENSIONS, list_folder


class Unlabeled(CompressedVideoDataModule):
    """All videos below a folder at any depth, without labels.

    For ``cvr pretrain``: a random fraction of the videos, drawn by ``split_seed``, is held out for
    validation. Hidden files and folders are ignored. Clips cannot be mixed, since there are no labels.

    Args:
        root: Folder of the videos.
        val_fraction: Fraction of the videos held out for validation, at least one video.
        split_seed: Seed of the held-out videos.
        **options: Options of :class:`CompressedVideoDataModule`.

    Raises:
        ValueError: ``val_fraction`` is not between 0 and 1, ``split_seed`` is negative, or mixup or cutmix is
        set.
    """

    def __init__(
        self, root: str | Path, val_fraction: float = 0.05, split_seed: int = 0, **options: Any
    ) -> None:
        if not 0 < val_fraction < 1:
            raise ValueError(f"val_fraction={val_fraction} must be between 0 and 1")
        check_seed("split_seed", split_seed)
        super().__init__(root=root, class_names=[], **options)
        if self.augmentation.mixup or self.augmentation.cutmix:
            raise ValueError("mixup and cutmix need labels, which these videos do not have: leave them out")
        self.val_fraction = val_fraction
        self.split_seed = split_seed

    def scan(self) -> Mapping[str, VideoList]:
        """List the videos; validation and test share the held-out videos.

        Raises:
            DatasetNotFoundError: There are fewer than two videos.
        """
        is_there = self.root.is_dir()
        names = self._list() if is_there else []
        if len(names) < 2:
            too_few = (
                f"{counted(len(names), 'video')} ({', '.join(EXTENSIONS)}), one of which must be held out"
            )
            raise DatasetNotFoundError.describe(
                type(self).__name__,
                self.root,
                too_few if is_there else "the folder does not exist",
                "<root>/**/<video>, at least two",
            )
        order = np.random.default_rng(self.split_seed).permutation(len(names))
        count = min(max(1, round(self.val_fraction * len(names))), len(names) - 1)
        train, val = (
            VideoList([names[i] for i in sorted(part)], np.full(len(part), -1))
            for part in (order[count:], order[:count])
        )
        return {"train": train, "val": val, "test": val}

    def _list(self) -> list[str]:
        names, left_out = list_folder(self.root)
        report_left_out(type(self).__name__, self.root, left_out)
        return names
