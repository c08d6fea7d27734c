"""Generated data sets: real MPEG-4 files, written in a minute, whose classes are motions."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from cvr_lightning.datamodules.base import CompressedVideoDataModule
from cvr_lightning.datamodules.dataset import VideoList
from cvr_lightning.datamodules.errors import DatasetError, DatasetMismatchError, DatasetNotFoundError
from cvr_lightning.datamodules.motion_scenes import (
    CLASS_NAMES,
    SHOTS,
    Shot,
    draw_hard_shot,
    draw_shot,
    dress,
)
from cvr_lightning.datamodules.motion_video import write_video
from cvr_lightning.datamodules.sampling import check_seed
from cvr_lightning.files.atomic import atomic_path
from cvr_lightning.files.bounds import parse_json, read_text

log = logging.getLogger(__name__)

RECIPE = "dataset.json"
"""File at the root that records how its videos were made."""
VERSION = 1
"""Incremented when the same recipe gives other images."""
TYPICAL = 0.5
"""Fraction of the training videos of :class:`HardMotionShapes` with the color of their class."""


class MotionShapes(CompressedVideoDataModule):
    """Textured shapes over drifting textured backgrounds, in ten classes defined by motion only.

    Classes: circle, down, left, right, rotate_clockwise, rotate_counterclockwise, shake, up, zoom_in,
    zoom_out.

    - Format: MPEG-4 Part 2 in mp4, 340x256, 25 fps, 36 frames, an I-frame every 12, no B-frames, quantizer 2:
      the usual form of prepared data sets.
    - Split: by scene, so textures and shapes of val and test are never seen in training. By default 600
      training, 100 validation and 200 test videos, about 120 MB.
    - Each scene is rendered once per class from the same I-frames, byte for byte. A model that sees only
      I-frames gives the same answer for all ten videos of a scene, so its accuracy is exactly 10 %.
    - The videos are written to ``<root>/{train,val,test}/<class>/<scene>.mp4`` on first use; later runs find
      them, and interrupted runs are resumed. They only depend on the options below.
    - Clips are never mirrored, since left and right are classes.

    Args:
        root: Folder of the data set; created if missing.
        train_scenes: Scenes in training, ten videos each.
        val_scenes: Scenes in validation, ten videos each.
        test_scenes: Scenes in testing, ten videos each.
        scene_seed: Seed of the scenes.
        **options: Options of :class:`CompressedVideoDataModule`.

    Raises:
        DatasetMismatchError: The root contains anything else.
    """

    mirrorable = False

    def __init__(
        self,
        root: str | Path = "data/motion_shapes",
        train_scenes: int = 60,
        val_scenes: int = 10,
        test_scenes: int = 20,
        scene_seed: int = 0,
        **options: Any,
    ) -> None:
        super().__init__(root=root, class_names=list(CLASS_NAMES), **options)
        self.scenes = {"train": train_scenes, "val": val_scenes, "test": test_scenes}
        check_seed("scene_seed", scene_seed)
        self.scene_seed = scene_seed
        for subset, count in self.scenes.items():
            if count < 1:
                raise ValueError(f"{subset}_scenes={count} must be at least 1")

    def prepare_data(self) -> None:
        """Write missing videos, and index them."""
        if not self.writable:
            super().prepare_data()
            return
        self._claim_root()
        jobs = [
            (subset, scene)
            for subset, count in self.scenes.items()
            for scene in range(count)
            if any(not (self.root / name).is_file() for name in _scene_names(subset, scene))
        ]
        if jobs:
            self._write_scenes(jobs)
        super().prepare_data()

    def scan(self) -> Mapping[str, VideoList]:
        """List the videos of the recipe.

        Raises:
            DatasetNotFoundError: A video has not been written.
        """
        labels = tuple(range(len(CLASS_NAMES)))
        subsets = {
            subset: VideoList(
                (name for scene in range(count) for name in _scene_names(subset, scene)), labels * count
            )
            for subset, count in self.scenes.items()
        }
        for name in (name for videos in subsets.values() for name in videos.names):
            if not (self.root / name).is_file():
                raise DatasetNotFoundError(
                    f"{type(self).__name__}: {self.root / name} has not been written: call prepare_data() "
                    "first; the trainer does if --data.root is the folder"
                )
        return subsets

    def _recipe(self) -> dict[str, Any]:
        return {
            "dataset": type(self).__name__,
            "version": VERSION,
            "seed": self.scene_seed,
            "scenes": self.scenes,
        }

    def _claim_root(self) -> None:
        """Record the recipe before the first video, so that an interrupted run never mixes recipes.

        Raises:
            DatasetMismatchError: The root has another recipe, or other files.
            DatasetError: The recorded recipe cannot be read.
        """
        file = self.root / RECIPE
        if not file.is_file():
            if self.root.is_dir() and any(not entry.name.startswith(".") for entry in self.root.iterdir()):
                raise DatasetMismatchError(
                    f"{self.root} contains files but no {RECIPE}: {type(self).__name__} only writes into a "
                    "folder of its own; choose another --data.root"
                )
            with atomic_path(file) as unfinished:
                unfinished.write_text(json.dumps(self._recipe(), indent=2) + "\n")
        found = _read_json(file)
        if found != self._recipe():
            raise DatasetMismatchError(
                f"{file} records {found}, but {self._recipe()} is requested: choose another --data.root, or "
                f"delete {self.root} to write it again"
            )

    def _write_scenes(self, jobs: list[tuple[str, int]]) -> None:
        """Render in threads: kernels and encoder release the GIL."""
        log.info("writing %d scenes of %d videos to %s", len(jobs), len(CLASS_NAMES), self.root)
        pool = ThreadPoolExecutor(os.cpu_count())
        try:
            futures = [pool.submit(self._write_scene, subset, scene) for subset, scene in jobs]
            for future in tqdm(as_completed(futures), type(self).__name__, total=len(jobs), unit="scene"):
                future.result()
        finally:
            pool.shutdown(cancel_futures=True)

    def _write_scene(self, subset: str, scene: int) -> None:
        films = zip(CLASS_NAMES, self.film(subset, scene), _scene_names(subset, scene), strict=True)
        for motion, shots, name in films:
            if not (self.root / name).is_file():
                write_video(self.root / name, shots, motion)

    def film(self, subset: str, scene: int) -> Sequence[Sequence[Shot]]:
        """Shots of a scene's video for each class: the same for all."""
        rng = self._rng(subset, scene)
        return [[draw_shot(rng) for _ in range(SHOTS)]] * len(CLASS_NAMES)

    def _rng(self, subset: str, scene: int) -> np.random.Generator:
        return np.random.default_rng((self.scene_seed, list(self.scenes).index(subset), scene))


class HardMotionShapes(MotionShapes):
    """:class:`MotionShapes` with a moving camera, distractors, and colors that mislead.

    - The camera pans by up to 1.5 pixels per frame, and two smaller shapes have their own motions. The class
      is the motion of the largest shape.
    - In training, half of the videos show that shape in the color of their class, the others in another
      class's; in validation and test it always has another class's color. A model that relies on I-frames
      scores below chance.

    Everything else, including the options, is as in :class:`MotionShapes`.

    Args:
        root: Folder of the data set; created if missing.
        **options: Options of :class:`MotionShapes`.

    Raises:
        DatasetMismatchError: The root contains anything else.
    """

    def __init__(self, root: str | Path = "data/hard_motion_shapes", **options: Any) -> None:
        super().__init__(root=root, **options)

    def film(self, subset: str, scene: int) -> Sequence[Sequence[Shot]]:
        """Shots of a scene's video for each class, which differ in the color of the shape."""
        rng = self._rng(subset, scene)
        shots = [draw_hard_shot(rng) for _ in range(SHOTS)]
        films = []
        for label in range(len(CLASS_NAMES)):
            is_typical = subset == "train" and rng.random() < TYPICAL
            color = (
                label if is_typical else (label + int(rng.integers(1, len(CLASS_NAMES)))) % len(CLASS_NAMES)
            )
            films.append([replace(shot, shape=dress(shot.shape, color)) for shot in shots])
        return films


def _scene_names(subset: str, scene: int) -> list[str]:
    """Names of a scene's videos by class, relative to the root."""
    return [f"{subset}/{motion}/{scene:04d}.mp4" for motion in CLASS_NAMES]


def _read_json(file: Path) -> Any:
    try:
        return parse_json(read_text(file))
    except ValueError as error:
        raise DatasetError(
            f"{file} is damaged ({error}): delete the folder {file.parent} to write it again"
        ) from error
