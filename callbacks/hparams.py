"""Hyper-parameters of a run with its final metrics, for comparing runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch import Callback
from lightning.pytorch.loggers import TensorBoardLogger

from cvr_lightning.training.module import RecognitionModule

METRICS = ("top1", "top5", "loss")
OPTIONS = (
    "data",
    "data.batch_size",
    "data.sampling.crop",
    "data.sampling.pframes",
    "data.sampling.segments",
    "model.learning_rate",
    "model.preset",
    "model.weight_decay",
    "seed_everything",
    "trainer.max_epochs",
    "trainer.precision",
)
"""A few, since TensorBoard initially shows five columns in alphabetical order."""


class HyperParameters(Callback):
    """Logs selected options of a run with its final metrics, at the end of ``fit`` and ``test``.

    Logs ``vitals/final/val_top1``, ``vitals/final/val_top5`` and ``vitals/final/val_loss`` after training;
    ``vitals/final/test_top1``, ``vitals/final/test_top5`` and ``vitals/final/test_loss`` after a test; those
    that exist. The last components of the options' names are the columns of TensorBoard's HPARAMS tab. Works
    with any logger.

    Args:
        options: Names of options as on the command line; missing ones are left out.
    """

    def __init__(self, options: Sequence[str] = OPTIONS) -> None:
        self.options = options

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the options and the metrics of the last validation."""
        self._log(trainer, pl_module, "val")

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the options and the metrics of the test."""
        self._log(trainer, pl_module, "test")

    def _log(self, trainer: Trainer, pl_module: LightningModule, subset: str) -> None:
        assert isinstance(pl_module, RecognitionModule)
        found = {name: trainer.callback_metrics.get(f"{subset}/{name}") for name in METRICS}
        metrics = {
            f"vitals/final/{subset}_{name}": float(value)
            for name, value in found.items()
            if value is not None
        }
        options = chosen_options(pl_module.run_config, self.options)
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                logger.log_hyperparams(options, metrics, step=trainer.global_step)
            else:
                logger.log_hyperparams(options)
                logger.log_metrics(metrics, trainer.global_step)


def chosen_options(config: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """Options by the last component of their names; classes by their class name, other objects as text."""
    chosen = {}
    for name in names:
        value: Any = config
        for part in name.split("."):
            value = value.get("init_args", value) if isinstance(value, Mapping) else {}
            value = value.get(part)
        if isinstance(value, Mapping):
            value = str(value.get("class_path")).rpartition(".")[2]
        if value is not None:
            plain = isinstance(value, str | int | float | bool)
            chosen[name.rpartition(".")[2]] = value if plain else str(value)
    return chosen
