"""Scores of whole videos: every video counts once, whatever the number of its views or of processes."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.functional.classification import multiclass_accuracy, multiclass_confusion_matrix
from torchmetrics.utilities import dim_zero_cat


class VideoTable:
    """One row for each of V videos, in ascending order of their index.

    A plain class, since torchmetrics squeezes the tensors of a tuple or data class that hold one value.

    Attributes:
        video: (V,) int64, index of the video.
        probabilities: (V, classes) float, mean of the softmax over the video's views.
        label: (V,) int64, class index, -1 where unknown.
    """

    def __init__(self, video: Tensor, probabilities: Tensor, label: Tensor) -> None:
        self.video = video
        self.probabilities = probabilities
        self.label = label

    def top(self, k: int) -> float | None:
        """Share of the videos whose label is among the k likeliest classes; None where that says nothing.

        It says nothing where k is not below the number of classes, or where there is no labelled video.
        """
        labelled = self.label >= 0
        classes = self.probabilities.shape[1]
        if (k > 1 and k >= classes) or not bool(labelled.any()):
            return None
        accuracy = multiclass_accuracy(
            self.probabilities[labelled], self.label[labelled], classes, average="micro", top_k=k
        )
        return float(accuracy)

    def confusion_matrix(self) -> Tensor:
        """(classes, classes) int64: videos of a class (row) that were given a class (column)."""
        labelled = self.label >= 0
        return multiclass_confusion_matrix(
            self.probabilities[labelled].argmax(dim=1), self.label[labelled], self.probabilities.shape[1]
        )


class VideoScores(Metric):
    """Collects the logits of views; gathered over processes, a view that was seen twice still counts once.

    Args:
        num_classes: Number of classes.
    """

    full_state_update = False
    video: list[Tensor]
    view: list[Tensor]
    probabilities: list[Tensor]
    label: list[Tensor]

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        for name in ("video", "view", "probabilities", "label"):
            self.add_state(name, default=[], dist_reduce_fx="cat")

    def update(self, logits: Tensor, label: Tensor, video: Tensor, view: Tensor) -> None:
        """Add the views of a batch: logits (B, classes), label, video and view (B,)."""
        self.video.append(video)
        self.view.append(view)
        self.probabilities.append(logits.float().softmax(dim=-1))
        self.label.append(label)

    def compute(self) -> VideoTable:
        """Average the views of each video.

        Raises:
            ValueError: Where no video was scored.
        """
        if not len(self.video):
            raise ValueError("no video was scored: the data set is empty, or none of its videos can be read")
        video, view = dim_zero_cat(self.video), dim_zero_cat(self.view)
        probabilities, label = dim_zero_cat(self.probabilities), dim_zero_cat(self.label)
        pairs, inverse = torch.unique(torch.stack([video, view], dim=1), dim=0, return_inverse=True)
        first = torch.full((len(pairs),), len(video), device=video.device)
        rows = torch.arange(len(video), device=video.device)
        first = first.scatter_reduce(0, inverse, rows, reduce="amin")

        videos, owner = torch.unique(video[first], return_inverse=True)
        mean = torch.zeros(len(videos), self.num_classes, device=video.device)
        mean = mean.index_add(0, owner, probabilities[first])
        mean = mean / torch.bincount(owner)[:, None]
        labels = torch.zeros_like(videos).scatter(0, owner, label[first])
        return VideoTable(videos, mean, labels)
