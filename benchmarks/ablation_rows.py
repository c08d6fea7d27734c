"""What ``ablation.py`` trains: recipes, rows, and the data of a run."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from data_options import data_options

from cvr_lightning.datamodules import UCF101, CompressedVideoDataModule, Folder, HardMotionShapes
from cvr_lightning.datamodules.annotations import Listed
from cvr_lightning.datamodules.dataset import VideoList

RecipeName = Literal["hard", "folder", "folds", "ucf101", "ucf101-imagenet"]
Subset = Literal["val", "test"]
HELD_OUT = range(22, 26)
"""Groups of UCF-101 that no split tests, so that choices made on them use no test video."""

SIZES = {"pframes": 6, "size": (160, 216), "crop": 128, "batch_size": 8}
VIEWS = {"views": 4, "crops": 3, "test_crop": 160}
AUGMENTATION = {"mixup": 0.3, "color_jitter": 0.4}
UCF101_DATA = AUGMENTATION | {"size": (144, 192), "crop": 128, "scale_jitter": (0.875, 1.0, 1.125)}
UCF101_DATA |= {"batch_size": 8, "segments": 4, "pframes": 4, "views": 2, "crops": 3}


@dataclass(frozen=True)
class Recipe:
    """How a data set is trained.

    Attributes:
        epochs: Of each training.
        model: Options of the module.
        data: Options of the data.
        splits: Published splits of the data set.
    """

    epochs: int
    model: dict[str, Any]
    data: dict[str, Any]
    splits: tuple[int, ...] = (1,)


FOLDER = Recipe(
    30,
    {"learning_rate": 1e-3},
    SIZES | VIEWS | AUGMENTATION | {"batch_size": 4, "segments": 4, "scale_jitter": (1.0, 1.125, 1.25)},
)
RECIPES: dict[RecipeName, Recipe] = {
    "hard": Recipe(12, {"learning_rate": 3e-3}, SIZES | {"segments": 3, "scene_seed": 1}),
    "folder": FOLDER,
    "folds": replace(FOLDER, splits=(1, 2, 3, 4, 5)),
    "ucf101": Recipe(30, {"learning_rate": 1e-3}, UCF101_DATA, (1, 2, 3)),
    "ucf101-imagenet": Recipe(
        10,
        {"learning_rate": 1e-3, "preset": "lite", "iframe_weights": "imagenet", "iframe_lr": 0.0},
        UCF101_DATA | {"size": (180, 240), "crop": 160, "color_jitter": 0.0},
        (1, 2, 3),
    ),
}
"""HardMotionShapes, a folder of videos, and UCF-101 or some of its classes (``--root``).

The scenes of seed 1 were not used while the model and its recipe were chosen.
"""
ROWS: dict[str, dict[str, Any]] = {
    "whole": {},
    "I-frames only": {"data": {"modalities": ("iframes",)}},
    "vectors only": {"data": {"modalities": ("motion",)}},
    "residuals only": {"data": {"modalities": ("residual",)}},
    "without I-frames": {"data": {"modalities": ("motion", "residual")}},
    "no global motion": {"model": {"ablate": ("global_motion",)}},
    "no spikes (ReLU)": {"model": {"ablate": ("spikes",)}},
    "binary spikes": {"model": {"levels": 1}},
    "adaptive thresholds": {"model": {"adaptive": True}},
    "no current readout": {"model": {"ablate": ("current_readout",)}},
    "no modulation": {"model": {"ablate": ("modulation",)}},
    "with exchange": {"model": {"exchange": True}},
    "with mixer": {"model": {"mixers": 1}},
    "no modality loss": {"model": {"modality_loss": 0.0}},
    "RGB frames": {"data": {"representation": "rgb", "segments": 8}},
    "pixel representation": {"data": {"representation": "pixel"}},
    "accumulated": {"data": {"accumulate": True}},
    "T = 1": {"data": {"pframes": 1}},
    "T = 3": {"data": {"pframes": 3}},
    "T = 11": {"data": {"pframes": 11}},
}
"""What is changed in each row of the whole model."""


class HeldOutGroups(UCF101):
    """UCF-101 without its test subset: the groups that no split tests are held out and scored instead."""

    def listed_videos(self) -> Mapping[str, Sequence[Listed]]:
        subsets = super().listed_videos()
        return {**subsets, "test": subsets["val"]}

    def _held_out(self, videos: Sequence[Listed]) -> set[Listed]:
        return {video for video in videos if int(self.recording(video).removeprefix("g")) in HELD_OUT}


class Folds(Folder):
    """The training subset of a folder, each class shuffled and dealt to five folds, one of which is scored.

    Args:
        root: Folder of the data set.
        fold: The fold that is not trained on, 1 to 5.
        **options: Options of :class:`Folder`.
    """

    def __init__(self, root: str, fold: int, **options: Any) -> None:
        super().__init__(root, **options)
        self.fold = fold

    def scan(self) -> Mapping[str, VideoList]:
        """The videos of the other folds, and those of this one."""
        listed = super().scan()["train"]
        videos = list(zip(listed.names, listed.labels.tolist(), strict=True))
        shuffle, held_out = random.Random(0), set[tuple[str, int]]()
        for label in range(self.num_classes):
            own = [video for video in videos if video[1] == label]
            shuffle.shuffle(own)
            held_out |= set(own[self.fold - 1 :: 5])
        train, test = (
            VideoList(*zip(*(video for video in videos if (video in held_out) == scored), strict=True))
            for scored in (False, True)
        )
        return {"train": train, "val": test, "test": test}


@dataclass(frozen=True)
class Job:
    """One training and the subset that it is scored on; ``epochs`` and ``root`` belong to it.

    Attributes:
        recipe: Name of the recipe.
        root: Folder of the data.
        epochs: Of the training.
        subset: ``val`` trains without the groups 22 to 25 of UCF-101 and is scored on them.
        row: Name of the row.
        split: Split of the data set.
        seed: Seed of weights and data.
    """

    recipe: RecipeName
    root: str
    epochs: int
    subset: Subset
    row: str
    split: int
    seed: int

    @property
    def model(self) -> dict[str, Any]:
        """Options of the module."""
        return RECIPES[self.recipe].model | ROWS[self.row].get("model", {})

    @property
    def data(self) -> dict[str, Any]:
        """Options of the data."""
        return RECIPES[self.recipe].data | ROWS[self.row].get("data", {})

    def datamodule(self) -> CompressedVideoDataModule:
        """The data, read in the training's own process."""
        options: dict[str, Any] = self.data | {"num_workers": 0, "seed": self.seed}
        if self.recipe == "hard":
            return HardMotionShapes(self.root, **data_options(options))
        if self.recipe == "folder":
            return Folder(self.root, **data_options(options))
        if self.recipe == "folds":
            return Folds(self.root, self.split, **data_options(options))
        if self.subset == "val":
            return HeldOutGroups(self.root, self.split, **data_options(options))
        return UCF101(self.root, self.split, **data_options(options), val_fraction=0)
