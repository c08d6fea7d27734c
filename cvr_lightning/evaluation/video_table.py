"""The scores of whole videos as a table, and what can be told from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from cvr_lightning.errors import RunError

Averaging = Literal["softmax", "logits"]
"""What is averaged over the views of a video: their class probabilities, or their logits."""

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]


@dataclass  # not frozen: torchmetrics makes a copy of what a metric computes, field by field
class VideoTable:
    """One row for each of V videos, in ascending order of their index.

    Attributes:
        video: (V,) index of the video.
        label: (V,) class index, -1 where unknown.
        views: (V,) number of views that were averaged, temporal x spatial.
        logits: (V, classes) mean of the logits over the video's views.
        probabilities: (V, classes) mean of the softmax over the video's views.
        unreadable: (U,) index of each video that is missing because it, or one of its views, cannot be read.
        averaging: Which of the two means ranks the classes.
    """

    video: Integers
    label: Integers
    views: Integers
    logits: Floats
    probabilities: Floats
    unreadable: Integers
    averaging: Averaging = "softmax"

    def __len__(self) -> int:
        """Number of videos V that were scored."""
        return len(self.video)

    @property
    def scores(self) -> Floats:
        """(V, classes) probabilities that rank the classes: of the mean logits where these are averaged."""
        return self.probabilities if self.averaging == "softmax" else softmax(self.logits)

    def top(self, k: int, of_all: bool = False) -> float | None:
        """Share of the videos whose label is among the k likeliest classes; None where that says nothing.

        Args:
            k: Number of classes that count as an answer.
            of_all: Count the unreadable videos too, as wrong.
        """
        return top_k(self.scores, self.label, k, missing=len(self.unreadable) if of_all else 0)

    def loss(self) -> float | None:
        """Mean cross entropy of the mean logits; None where there is no labelled video."""
        labelled = self.label >= 0
        return float(losses(self.logits, self.label)[labelled].mean()) if labelled.any() else None

    def confusion_matrix(self) -> Integers:
        """(classes, classes): videos of a class (row) that were given a class (column)."""
        labelled = self.label >= 0
        counts = np.zeros((self.scores.shape[1],) * 2, np.int64)
        np.add.at(counts, (self.label[labelled], self.scores[labelled].argmax(axis=1)), 1)
        return counts


def softmax(logits: Floats) -> Floats:
    """Probabilities of each row of logits."""
    exponentials: Floats = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities: Floats = exponentials / exponentials.sum(axis=1, keepdims=True)
    return probabilities


def losses(logits: Floats, label: Integers) -> Floats:
    """Cross entropy (V,) of each row of logits in nats; nan where the label is -1."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    loss = np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(len(label)), label]
    known: Floats = np.where(label >= 0, loss, np.float32(np.nan))
    return known


def top_k(scores: Floats, label: Integers, k: int, missing: int = 0) -> float | None:
    """Share of the labelled videos whose label is among the k best classes; of equals, the first is better.

    Args:
        scores: (V, classes), the higher the better.
        label: (V,) class index, -1 where unknown.
        k: Number of classes that count as an answer.
        missing: Further videos, which count as wrong.

    Returns:
        None where k is not below the number of classes, unless it is 1, or where no video is labelled.
    """
    labelled = label >= 0
    if (k > 1 and k >= scores.shape[1]) or not labelled.any():
        return None
    best = np.argsort(-scores[labelled], axis=1, kind="stable")[:, :k]
    right = (best == label[labelled, None]).any(axis=1)
    return float(right.sum() / (len(right) + missing))


def require_finite(is_finite: object) -> None:
    """Refuse scores that are no numbers: the class that they would choose means nothing.

    Raises:
        RunError: They are not finite.
    """
    if not is_finite:
        raise RunError(
            "the model's scores hold NaN or infinity: take another checkpoint, or compute in float32 "
            "(--precision 32, --trainer.precision 32)"
        )
