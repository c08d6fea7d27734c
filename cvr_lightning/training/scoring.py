"""Validation, test and prediction over whole videos."""

from __future__ import annotations

import numpy as np
from lightning import LightningModule
from lightning.pytorch.plugins.precision import DoublePrecision
from torch import Tensor

from cvr_lightning.clip import CompressedClip
from cvr_lightning.datamodules.reading import reading_log
from cvr_lightning.errors import RunError
from cvr_lightning.evaluation.scores import VideoScores
from cvr_lightning.evaluation.video_table import Averaging, VideoTable, require_finite


class ScoringModule(LightningModule):
    """Base class that scores whole videos; ``forward`` of a subclass returns logits.

    Args:
        class_names: Name of each class, in the order of their indices.
        averaging: What is averaged over the views of a video: ``softmax`` or ``logits``.

    Raises:
        ValueError: There are fewer than two classes.
    """

    def __init__(self, class_names: list[str], averaging: Averaging) -> None:
        super().__init__()
        if not class_names:
            raise ValueError(
                "the data set has no classes: give videos in one folder per class (--data Folder), or train "
                "without labels (cvr pretrain)"
            )
        if len(class_names) == 1:
            raise ValueError(
                f"the data set has one class, {class_names[0]!r}, but classification needs at least two: "
                "set --data.root to the parent of all class folders"
            )
        self.class_names = list(class_names)
        self.scores = VideoScores(len(class_names), averaging)
        self.table: VideoTable | None = None

    def configure_model(self) -> None:
        """Convert to float64 before a checkpoint is loaded; Lightning converts after, when it is rounded."""
        if isinstance(self.trainer.precision_plugin, DoublePrecision):
            self.double()

    def on_validation_epoch_start(self) -> None:
        """Forget the scores of the last epoch."""
        self.scores.reset()
        reading_log(self.trainer).start_epoch("val")

    def validation_step(self, clip: CompressedClip, batch_index: int) -> None:
        """Score the views of a batch."""
        self._score(clip)

    def on_validation_epoch_end(self) -> None:
        """Log the accuracies over whole videos."""
        self._log_table("val")

    def on_test_epoch_start(self) -> None:
        """Forget the scores of the last epoch."""
        self.scores.reset()
        reading_log(self.trainer).start_epoch("test")

    def test_step(self, clip: CompressedClip, batch_index: int) -> None:
        """Score the views of a batch."""
        self._score(clip)

    def on_test_epoch_end(self) -> None:
        """Log the accuracies over whole videos."""
        self._log_table("test")

    def on_predict_epoch_start(self) -> None:
        """Forget the scores of the last epoch."""
        self.scores.reset()
        reading_log(self.trainer).start_epoch("test")

    def predict_step(self, clip: CompressedClip, batch_index: int) -> Tensor | None:
        """Class probabilities (B, classes) of the views of a batch; None if it has no readable view."""
        logits = self._score(clip)
        return None if logits is None else logits.softmax(dim=-1)

    def on_predict_epoch_end(self) -> None:
        """Average the views of each video."""
        reading_log(self.trainer).end_epoch("test")
        self.table = self.scores.compute()

    def _score(self, clip: CompressedClip) -> Tensor | None:
        logits: Tensor | None = self(clip) if len(clip) else None
        rows = clip.iframes.new_zeros(0, len(self.class_names)) if logits is None else logits
        self.scores.update(rows, clip.label, clip.video, clip.unreadable)
        return logits

    def _log_table(self, subset: str) -> None:
        """Log metrics over whole videos; table and metrics are equal in all processes.

        Raises:
            RunError: No video could be scored.
        """
        reading_log(self.trainer).end_epoch(subset)
        self.table = self.scores.compute()
        if not len(self.table) and not self.trainer.sanity_checking:
            raise RunError(
                f"none of the {subset} videos could be scored in all views; see the warnings above"
            )
        if subset == "test":
            require_finite(np.isfinite(self.table.logits).all())
        metrics = {"loss": self.table.loss(), "top1": self.table.top(1), "top5": self.table.top(5)}
        for name, value in (metrics | {"unreadable": len(self.table.unreadable) or None}).items():
            if value is not None:
                self.log(f"{subset}/{name}", float(value), prog_bar=name in ("loss", "top1"), sync_dist=True)
