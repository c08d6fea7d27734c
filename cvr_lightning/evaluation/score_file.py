"""The file scores.npz: the scores of every video of a test, for late fusion and for whoever wants to look."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cvr_lightning.errors import RunError
from cvr_lightning.evaluation.video_table import Floats, Integers
from cvr_lightning.files.atomic import atomic_path

FILE_NAME = "scores.npz"
Names = npt.NDArray[np.str_]


@dataclass(frozen=True)
class ScoreFile:
    """The scores of V videos, each counted once; plain arrays, of which nothing needs unpickling.

    Attributes:
        video: (V,) names of the videos, relative to the data set's root.
        label: (V,) class index, -1 where unknown.
        views: (V,) number of views that were averaged.
        logits: (V, classes) mean of the logits over the views.
        probabilities: (V, classes) mean of the softmax over the views.
        class_names: (classes,) name of each class.
        unreadable: (U,) names of the videos that are missing, for they cannot be read.
    """

    video: Names
    label: Integers
    views: Integers
    logits: Floats
    probabilities: Floats
    class_names: Names
    unreadable: Names

    def write(self, path: Path) -> None:
        """Write the file, whole or not at all."""
        with atomic_path(path) as unfinished, unfinished.open("wb") as file:
            np.savez(file, **vars(self))

    @classmethod
    def read(cls, run: str | Path) -> ScoreFile:
        """The scores of a run directory.

        Raises:
            RunError: Where it holds no scores, or a file that is none.
        """
        path = Path(run) / FILE_NAME
        try:
            with np.load(path, allow_pickle=False) as file:
                scores = cls(**{field.name: file[field.name] for field in fields(cls)})
            scores._check()
        except FileNotFoundError as error:
            raise RunError(f"{path}: no such file; cvr test writes it") from error
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise RunError(f"{path}: not a file of scores ({error}); run cvr test again") from error
        return scores

    def _check(self) -> None:
        videos, classes = len(self.video), len(self.class_names)
        expected = {"label": (videos,), "logits": (videos, classes), "probabilities": (videos, classes)}
        for name, shape in expected.items():
            if getattr(self, name).shape != shape:
                raise ValueError(f"{name} has shape {getattr(self, name).shape}, expected {shape}")
