"""Scores of whole videos: each counts once, in any number of views and processes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import get_args

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from cvr_lightning.evaluation.video_table import Averaging, VideoTable


class VideoScores(Metric):
    """Sums the scores of each video's views, and gathers the sums across processes.

    Views may come in any batch and order, each exactly once.

    Args:
        num_classes: Number of classes.
        averaging: What is averaged over views to rank the classes: ``softmax`` or ``logits``.

    Raises:
        ValueError: ``averaging`` is unknown.
    """

    full_state_update = False
    video: list[Tensor]
    label: list[Tensor]
    views: list[Tensor]
    logits: list[Tensor]
    probabilities: list[Tensor]
    unreadable: list[Tensor]

    def __init__(self, num_classes: int, averaging: Averaging = "softmax") -> None:
        super().__init__()
        if averaging not in get_args(Averaging):
            raise ValueError(f"averaging={averaging!r}: choose one of {', '.join(get_args(Averaging))}")
        self.num_classes = num_classes
        self.averaging: Averaging = averaging
        for name in ("video", "label", "views", "logits", "probabilities", "unreadable"):
            self.add_state(name, default=[], dist_reduce_fx="cat")
        self.reset()

    def reset(self) -> None:
        """Discard all videos."""
        super().reset()
        # Every process must take part in gathering, with the right dtypes, even without videos.
        none = torch.zeros(0, dtype=torch.int64, device=self.device)
        self.update(torch.zeros(0, self.num_classes, device=self.device), none, none)

    def update(self, logits: Tensor, label: Tensor, video: Tensor, unreadable: Iterable[int] = ()) -> None:
        """Add the views of a batch.

        Args:
            logits: (B, classes).
            label: (B,) class index, -1 if unknown.
            video: (B,) index of the video.
            unreadable: Indices of videos missing from the batch because they cannot be read.
        """
        logits = logits.float()
        videos, owner = torch.unique(video, return_inverse=True)
        sums = logits.new_zeros(len(videos), self.num_classes)  # float32 in any precision
        self.video.append(videos)
        self.label.append(torch.zeros_like(videos).scatter(0, owner, label))
        self.views.append(torch.bincount(owner, minlength=len(videos)))
        self.logits.append(sums.index_add(0, owner, logits))
        self.probabilities.append(sums.index_add(0, owner, logits.softmax(dim=-1)))
        self.unreadable.append(torch.tensor(list(unreadable), dtype=torch.int64, device=logits.device))

    def compute(self) -> VideoTable:
        """Average each video's views; a video with an unreadable view is unreadable as a whole."""
        rows, unreadable = dim_zero_cat(self.video), torch.unique(dim_zero_cat(self.unreadable))
        videos, owner = torch.unique(rows, return_inverse=True)
        readable = ~torch.isin(videos, unreadable)

        def total(parts: list[Tensor]) -> Tensor:
            part = dim_zero_cat(parts)
            sums = torch.zeros(len(videos), *part.shape[1:], dtype=part.dtype, device=part.device)
            return sums.index_add(0, owner, part)[readable]

        views = total(self.views)
        label = torch.zeros_like(videos).scatter(0, owner, dim_zero_cat(self.label))[readable]
        return VideoTable(
            video=videos[readable].cpu().numpy(),
            label=label.cpu().numpy(),
            views=views.cpu().numpy(),
            logits=(total(self.logits) / views[:, None]).cpu().numpy(),
            probabilities=(total(self.probabilities) / views[:, None]).cpu().numpy(),
            unreadable=unreadable.cpu().numpy(),
            averaging=self.averaging,
        )
