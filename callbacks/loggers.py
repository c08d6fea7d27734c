"""Logging shared by the callbacks: supported loggers, and when images are drawn."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Literal

import numpy.typing as npt
from lightning import LightningModule, Trainer
from lightning.pytorch import Callback
from lightning.pytorch.trainer.states import TrainerFn
from lightning_utilities.core.rank_zero import rank_zero_warn
from torch import Tensor

from cvr_lightning.clip import CompressedClip
from cvr_lightning.training.metrics_file import MetricsFile

Method = Literal["add_figure", "add_histogram"]


def experiments(trainer: Trainer, method: Method) -> list[Any]:
    """The loggers' experiment objects that have a method, such as TensorBoard's writer."""
    found = [getattr(logger, "experiment", None) for logger in trainer.loggers]
    return [experiment for experiment in found if hasattr(experiment, method)]


def warn_without(trainer: Trainer, callback: Callback, method: Method) -> None:
    """Warn once, in setup, if no logger supports a callback's images; silent without loggers."""
    others = [logger for logger in trainer.loggers if not isinstance(logger, MetricsFile)]
    if others and not experiments(trainer, method):
        loggers = ", ".join(type(logger).__name__ for logger in others)
        rank_zero_warn(
            f"{type(callback).__name__} needs a logger with {method}, such as TensorBoardLogger; the run's "
            f"loggers: {loggers}. Its output is not logged"
        )


def log_scalars(trainer: Trainer, scalars: dict[str, float], step: int) -> None:
    """Send scalars to every logger; loggers write in the first process only."""
    for logger in trainer.loggers:
        logger.log_metrics(scalars, step)


class PictureCallback(Callback, ABC):
    """Draws after the 1st, 2nd, 4th, 8th ... and last validation of a training, and after ``cvr validate``.

    Results change most early on, and drawing takes a negligible fraction of a long run. The number of
    validations is stored in checkpoints, so a resumed run draws as an uninterrupted one.
    """

    def __init__(self) -> None:
        self.validations = 0
        self._is_drawn = True

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Warn if no logger supports images."""
        if stage == "fit":
            warn_without(trainer, self, "add_figure")

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw, if due."""
        if trainer.sanity_checking:
            return
        self.validations += 1
        is_fit = trainer.state.fn == TrainerFn.FITTING
        self._is_drawn = not is_fit or self.validations & (self.validations - 1) == 0
        if self._is_drawn:
            self._draw_once(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw the last validation, unless already drawn."""
        if not self._is_drawn:
            self._is_drawn = True
            self._draw_once(trainer, pl_module)

    def _draw_once(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.is_global_zero and experiments(trainer, "add_figure"):
            self.draw(trainer, pl_module)

    @abstractmethod
    def draw(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log images of the last validation; called in the first process."""

    def state_dict(self) -> dict[str, Any]:
        """Number of validations so far."""
        return {"validations": self.validations}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the number of validations."""
        self.validations = state_dict["validations"]


def log_figure(trainer: Trainer, tag: str, figure: Any) -> None:
    """Send a matplotlib figure to every logger that supports it."""
    for experiment in experiments(trainer, "add_figure"):
        experiment.add_figure(tag, figure, global_step=trainer.global_step)


def array(tensor: Tensor) -> npt.NDArray[Any]:
    """Convert a tensor to NumPy, which has no bfloat16."""
    tensor = tensor.detach().cpu()
    return (tensor.float() if tensor.is_floating_point() else tensor).numpy()


def fixed_rows(trainer: Trainer, batch: CompressedClip, batch_idx: int, clips: int) -> list[tuple[int, int]]:
    """Find the fixed validation clips in this batch: (number of the clip, its row).

    They are spread evenly over the process's batches, whose order is the same each time.

    Args:
        trainer: The trainer, in validation.
        batch: The batch.
        batch_idx: Index of the batch.
        clips: Number of fixed clips.
    """
    batches = int(trainer.num_val_batches[0])
    here = [clip for clip in range(clips) if clip * batches // clips == batch_idx]
    return [(clip, row) for row, clip in enumerate(here) if row < len(batch)]
