"""The file scores.npz: the scores of every tested video, for score fusion and analysis."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cvr_lightning.errors import RunError
from cvr_lightning.evaluation.video_table import Floats, Integers
from cvr_lightning.files.atomic import atomic_path
from cvr_lightning.files.bounds import CLASSES, read_arrays

FILE_NAME = "scores.npz"
Names = npt.NDArray[np.str_]


@dataclass(frozen=True)
class ScoreFile:
    """Scores of V videos as plain arrays, without pickled objects.

    Attributes:
        video: (V,) names of the videos, relative to the data set's root.
        label: (V,) class index, -1 if unknown.
        views: (V,) number of averaged views.
        logits: (V, classes) mean logits over the views.
        probabilities: (V, classes) mean softmax over the views.
        class_names: (classes,) class names.
        unreadable: (U,) names of unreadable videos, which have no scores.
    """

    video: Names
    label: Integers
    views: Integers
    logits: Floats
    probabilities: Floats
    class_names: Names
    unreadable: Names

    def write(self, path: Path) -> None:
        """Write the file atomically."""
        with atomic_path(path) as unfinished, unfinished.open("wb") as file:
            np.savez(file, **vars(self))

    @classmethod
    def read(cls, run: str | Path) -> ScoreFile:
        """Read the scores of a run directory.

        Raises:
            RunError: The file is missing or invalid.
        """
        path = Path(run) / FILE_NAME
        try:
            arrays = read_arrays(path)
            scores = cls(**{field.name: arrays[field.name] for field in fields(cls)})
            scores._check()
        except FileNotFoundError as error:
            raise RunError(f"{path}: no such file; cvr test writes it") from error
        except (OSError, ValueError, KeyError) as error:
            raise RunError(f"{path}: not a valid score file ({error}); run cvr test again") from error
        return scores

    def _check(self) -> None:
        videos, classes, unreadable = len(self.video), len(self.class_names), len(self.unreadable)
        CLASSES.check(classes)
        expected = {
            "video": ("U", (videos,)),
            "label": ("i", (videos,)),
            "views": ("i", (videos,)),
            "logits": ("f", (videos, classes)),
            "probabilities": ("f", (videos, classes)),
            "class_names": ("U", (classes,)),
            "unreadable": ("U", (unreadable,)),
        }
        for name, (kind, shape) in expected.items():
            array = getattr(self, name)
            if array.shape != shape or array.dtype.kind != kind:
                raise ValueError(f"{name} is {array.dtype} of shape {array.shape}, expected {shape}")
        if videos and not -1 <= int(self.label.min()) <= int(self.label.max()) < classes:
            raise ValueError(f"labels from {self.label.min()} to {self.label.max()} of {classes} classes")
        if not (np.isfinite(self.logits).all() and np.isfinite(self.probabilities).all()):
            raise ValueError("scores that are not finite")
