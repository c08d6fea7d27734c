"""Scores of whole videos: every video counts once, whatever the number of its views or of processes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import get_args

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from cvr_lightning.evaluation.video_table import Averaging, VideoTable


class VideoScores(Metric):
    """Sums the views of each video, and gathers the sums over processes.

    All views of a video may come in any batches, but once: no view is told from another.

    Args:
        num_classes: Number of classes.
        averaging: What is averaged over the views to rank the classes: ``softmax`` or ``logits``.

    Raises:
        ValueError: For another ``averaging``; the message lists those there are.
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
        """Forget all videos."""
        super().reset()
        # A process that will score nothing takes part in the gathering all the same, with the right types.
        none = torch.zeros(0, dtype=torch.int64, device=self.device)
        self.update(torch.zeros(0, self.num_classes, device=self.device), none, none)

    def update(self, logits: Tensor, label: Tensor, video: Tensor, unreadable: Iterable[int] = ()) -> None:
        """Add the views of a batch.

        Args:
            logits: (B, classes).
            label: (B,) class index, -1 where unknown.
            video: (B,) index of the video.
            unreadable: Indices of videos that should have been in the batch but cannot be read.
        """
        logits = logits.float()
        videos, owner = torch.unique(video, return_inverse=True)
        sums = logits.new_zeros(len(videos), self.num_classes)  # float32 under any precision
        self.video.append(videos)
        self.label.append(torch.zeros_like(videos).scatter(0, owner, label))
        self.views.append(torch.bincount(owner, minlength=len(videos)))
        self.logits.append(sums.index_add(0, owner, logits))
        self.probabilities.append(sums.index_add(0, owner, logits.softmax(dim=-1)))
        self.unreadable.append(torch.tensor(list(unreadable), dtype=torch.int64, device=logits.device))

    def compute(self) -> VideoTable:
        """Average the views of each video; one of which a view cannot be read is unreadable as a whole."""
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
