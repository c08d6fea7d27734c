"""The confusion matrix as a picture in the logger."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from lightning import LightningModule, Trainer
from lightning.pytorch import Callback
from lightning.pytorch.loggers import TensorBoardLogger
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from cvr_lightning.module import RecognitionModule


class ConfusionMatrix(Callback):
    """Logs the confusion matrix over whole videos as an image.

    Logged: ``val/confusion_matrix`` after each validation and ``test/confusion_matrix`` after the test, rows
    the true class, columns the predicted one, each row in percent of its class. TensorBoard only.
    """

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the picture of the validation."""
        if not trainer.sanity_checking:
            self._log(trainer, pl_module, "val/confusion_matrix")

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the picture of the test."""
        self._log(trainer, pl_module, "test/confusion_matrix")

    def _log(self, trainer: Trainer, pl_module: LightningModule, tag: str) -> None:
        assert isinstance(pl_module, RecognitionModule)
        if not trainer.is_global_zero or pl_module.table is None:
            return
        counts = pl_module.table.confusion_matrix()
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                figure = draw_confusion_matrix(counts, pl_module.class_names)
                logger.experiment.add_figure(tag, figure, global_step=trainer.global_step)


def draw_confusion_matrix(counts: np.ndarray, class_names: Sequence[str]) -> Figure:
    """Draw counts (classes, classes), rows true and columns predicted, as shares of each row.

    Cells carry their percentage up to 25 classes; beyond, colour alone stays readable.
    """
    classes = len(class_names)
    side = min(2.5 + 0.45 * classes, 24)
    figure = Figure(figsize=(side + 1, side), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    share = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    image = axes.imshow(share, cmap="Blues", vmin=0, vmax=100)
    figure.colorbar(image, ax=axes, label="videos of the true class (%)", fraction=0.046)
    ticks = np.arange(classes) if classes <= 60 else np.arange(0, classes, classes // 40)
    labels = [class_names[int(tick)] for tick in ticks]
    size = 9 if classes <= 25 else 6
    axes.set_xticks(ticks, labels, rotation=90, fontsize=size)
    axes.set_yticks(ticks, labels, fontsize=size)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    correct = 100 * np.trace(counts) / max(counts.sum(), 1)
    axes.set_title(f"{correct:.1f} % of {counts.sum()} videos right")
    if classes <= 25:
        for row, column in zip(*np.nonzero(counts), strict=True):
            colour = "white" if share[row, column] > 55 else "black"
            axes.text(
                column, row, f"{share[row, column]:.0f}", ha="center", va="center", color=colour, fontsize=8
            )
    return figure
