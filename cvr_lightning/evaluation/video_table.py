"""The scores of whole videos as a table, with metrics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from cvr_lightning.errors import RunError

Averaging = Literal["softmax", "logits"]
"""What is averaged over a video's views: class probabilities or logits."""

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]


@dataclass  # not frozen: torchmetrics copies results field by field
class VideoTable:
    """One row per video, V in total, in ascending order of their index.

    Attributes:
        video: (V,) index of the video.
        label: (V,) class index, -1 if unknown.
        views: (V,) number of averaged views, temporal x spatial.
        logits: (V, classes) mean logits over the views.
        probabilities: (V, classes) mean softmax over the views.
        unreadable: (U,) indices of videos of which at least one view cannot be read.
        averaging: Which mean ranks the classes.
    """

    video: Integers
    label: Integers
    views: Integers
    logits: Floats
    probabilities: Floats
    unreadable: Integers
    averaging: Averaging = "softmax"

    def __len__(self) -> int:
        """Number V of scored videos."""
        return len(self.video)

    @property
    def scores(self) -> Floats:
        """(V, classes) probabilities that rank the classes, from mean logits if these are averaged."""
        return self.probabilities if self.averaging == "softmax" else softmax(self.logits)

    def top(self, k: int, of_all: bool = False) -> float | None:
        """Top-k accuracy; None if undefined (see :func:`top_k`).

        Args:
            k: Number of classes.
            of_all: Count unreadable videos as wrong.
        """
        return top_k(self.scores, self.label, k, missing=len(self.unreadable) if of_all else 0)

    def loss(self) -> float | None:
        """Mean cross entropy of the mean logits; None without labeled videos."""
        labeled = self.label >= 0
        return float(losses(self.logits, self.label)[labeled].mean()) if labeled.any() else None

    def confusion_matrix(self) -> Integers:
        """(classes, classes) counts: true class by row, predicted class by column."""
        labeled = self.label >= 0
        counts = np.zeros((self.scores.shape[1],) * 2, np.int64)
        np.add.at(counts, (self.label[labeled], self.scores[labeled].argmax(axis=1)), 1)
        return counts


def softmax(logits: Floats) -> Floats:
    """Softmax over each row."""
    exponentials: Floats = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities: Floats = exponentials / exponentials.sum(axis=1, keepdims=True)
    return probabilities


def losses(logits: Floats, label: Integers) -> Floats:
    """Cross entropy (V,) per row in nats; NaN for label -1."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    loss = np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(len(label)), label]
    known: Floats = np.where(label >= 0, loss, np.float32(np.nan))
    return known


def top_k(scores: Floats, label: Integers, k: int, missing: int = 0) -> float | None:
    """Fraction of labeled videos whose label is among the k best classes; ties go to the lower class index.

    Args:
        scores: (V, classes), higher is better.
        label: (V,) class index, -1 if unknown.
        k: Number of classes.
        missing: Number of further videos, counted as wrong.

    Returns:
        None if k > 1 is not below the number of classes, or without labeled videos.
    """
    labeled = label >= 0
    if (k > 1 and k >= scores.shape[1]) or not labeled.any():
        return None
    best = np.argsort(-scores[labeled], axis=1, kind="stable")[:, :k]
    right = (best == label[labeled, None]).any(axis=1)
    return float(right.sum() / (len(right) + missing))


def require_finite(is_finite: object) -> None:
    """Refuse scores with NaN or infinity, whose best class is meaningless.

    Raises:
        RunError: Scores are not finite.
    """
    if not is_finite:
        raise RunError(
            "the model's scores contain NaN or infinity: use another checkpoint, or compute in float32 "
            "(--precision 32, --trainer.precision 32)"
        )
