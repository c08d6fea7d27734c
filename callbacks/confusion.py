"""The confusion matrix as an image in the logger."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from lightning import LightningModule, Trainer
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure

from cvr_lightning.callbacks.loggers import PictureCallback, log_figure
from cvr_lightning.files.printable import printable
from cvr_lightning.plots.clips import new_figure
from cvr_lightning.training.module import RecognitionModule


class ConfusionMatrix(PictureCallback):
    """Logs the confusion matrix over whole videos as an image.

    Logs ``val/confusion_matrix`` after the 1st, 2nd, 4th, 8th ... validation and the last, and
    ``vitals/test/confusion_matrix`` after the test. Rows are true classes, columns predicted ones, in percent
    of each row. The most frequently confused pairs are listed next to it. Needs a logger with ``add_figure``.
    """

    def draw(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the confusion matrix of the validation."""
        self._log(trainer, pl_module, "val/confusion_matrix")

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the confusion matrix of the test."""
        if trainer.is_global_zero:
            self._log(trainer, pl_module, "vitals/test/confusion_matrix")

    def _log(self, trainer: Trainer, pl_module: LightningModule, tag: str) -> None:
        assert isinstance(pl_module, RecognitionModule)
        if pl_module.table is not None:
            counts = pl_module.table.confusion_matrix()
            log_figure(trainer, tag, draw_confusion_matrix(counts, pl_module.class_names))


SMALL = 25
"""Largest number of classes for which each cell shows its percentage."""


def draw_confusion_matrix(counts: np.ndarray, class_names: Sequence[str]) -> Figure:
    """Draw counts (classes, classes), rows true and columns predicted, as fractions of each row.

    Up to 25 classes each cell shows its percentage. With more, a color scale that resolves small fractions is
    used, and the largest confusions are listed.
    """
    classes = len(class_names)
    is_small = classes <= SMALL
    side = 2.9 + 0.4 * classes if is_small else 11.0  # inches
    figure = new_figure(side + (1.2 if is_small else 6.5), side)
    axes = figure.add_axes(_box(figure, 2.1, 2.1, side - 2.7, side - 2.7))
    percent = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    image = axes.imshow(percent, cmap="Blues", norm=PowerNorm(0.5, vmin=0, vmax=100), interpolation="nearest")
    bar = figure.add_axes(_box(figure, side - 0.45, 2.1, 0.2, side - 2.7))
    figure.colorbar(image, cax=bar, label="videos of the true class (%)", ticks=[0, 1, 5, 20, 50, 100])
    _label_axes(axes, class_names)
    correct = 100 * np.trace(counts) / max(counts.sum(), 1)
    axes.set_title(f"{correct:.1f} % of {counts.sum()} videos correct")
    if is_small:
        for row, column in zip(*np.nonzero(counts), strict=True):
            color = "white" if percent[row, column] > 35 else "black"
            text = f"{percent[row, column]:.0f}"
            axes.text(column, row, text, ha="center", va="center", color=color, fontsize=8)
    else:
        lists = [*confusions(counts, class_names), "", *hardest(counts, class_names)]
        where = (side + 0.9) / figure.get_figwidth()
        figure.text(where, 0.94, "\n".join(lists), va="top", fontsize=9, linespacing=1.5, parse_math=False)
    return figure


def confusions(counts: np.ndarray, class_names: Sequence[str], most: int = 24) -> list[str]:
    """List the most frequently confused pairs of classes, as lines of text under a heading.

    Args:
        counts: (classes, classes), rows true and columns predicted.
        class_names: Name of each class.
        most: Largest number of pairs.
    """
    wrong = counts - np.diag(np.diag(counts))
    order = np.argsort(-wrong, axis=None, kind="stable")[:most]
    videos = counts.sum(axis=1)
    lines = ["Most frequent confusions: true class → predicted"]
    for true, predicted in zip(*np.unravel_index(order, counts.shape), strict=True):
        if number := wrong[true, predicted]:
            names = f"{_short(class_names[true])} → {_short(class_names[predicted])}"
            lines.append(f"  {names}: {number} of {videos[true]}")
    return lines if len(lines) > 1 else ["No video was misclassified"]


def hardest(counts: np.ndarray, class_names: Sequence[str], most: int = 12) -> list[str]:
    """List the classes with the lowest accuracy, as lines of text under a heading.

    Args:
        counts: (classes, classes), rows true and columns predicted.
        class_names: Name of each class.
        most: Largest number of classes.
    """
    videos = counts.sum(axis=1)
    percent = np.where(videos > 0, np.diag(counts) / np.maximum(videos, 1), np.inf)
    order = [index for index in np.argsort(percent, kind="stable")[:most] if videos[index]]
    lines = [f"  {_short(class_names[index])}: {counts[index, index]} of {videos[index]}" for index in order]
    return ["Lowest accuracy: correct videos", *lines]


def _label_axes(axes: Any, class_names: Sequence[str]) -> None:
    """Label every class, or with more than 60, a legible selection."""
    every = -(-len(class_names) // 60)
    ticks = np.arange(0, len(class_names), every)
    labels = [_short(class_names[int(tick)]) for tick in ticks]
    size = 9 if len(class_names) <= SMALL else 7
    axes.set_xticks(ticks, labels, rotation=90, fontsize=size, parse_math=False)
    axes.set_yticks(ticks, labels, fontsize=size, parse_math=False)
    named = f", one name in {every}" if every > 1 else ""
    axes.set_xlabel(f"predicted class{named}")
    axes.set_ylabel(f"true class{named}")


def _short(name: str) -> str:
    return printable(name if len(name) <= 22 else f"{name[:20]}...")


def _box(
    figure: Figure, left: float, bottom: float, width: float, height: float
) -> tuple[float, float, float, float]:
    """Convert a box in inches to fractions of the figure."""
    across, up = figure.get_figwidth(), figure.get_figheight()
    return left / across, bottom / up, width / across, height / up
