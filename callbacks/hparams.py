"""The hyper-parameters of a run beside its final metrics, for comparing runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch import Callback
from lightning.pytorch.loggers import TensorBoardLogger

from cvr_lightning.module import RecognitionModule

METRICS = ("top1", "top5", "loss")


class HyperParameters(Callback):
    """Logs the configuration of a run and its last metrics at the end of ``fit`` and of ``test``.

    Logged: ``final/val_loss``, ``final/val_top1``, ``final/val_top5`` after training, ``final/test_loss``,
    ``final/test_top1``, ``final/test_top5`` after a test, where they exist; and, as the HPARAMS tab of
    TensorBoard shows them, every option of the sections ``model`` and ``data``, the seed, and of the trainer
    those in :data:`TRAINER_OPTIONS`. Any logger takes them.
    """

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the options and the metrics of the last validation."""
        self._log(trainer, pl_module, "val")

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the options and the metrics of the test."""
        self._log(trainer, pl_module, "test")

    def _log(self, trainer: Trainer, pl_module: LightningModule, part: str) -> None:
        assert isinstance(pl_module, RecognitionModule)
        found = {name: trainer.callback_metrics.get(f"{part}/{name}") for name in METRICS}
        metrics = {f"final/{part}_{name}": float(value) for name, value in found.items() if value is not None}
        options = flat_options(pl_module.run_config)
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                logger.log_hyperparams(options, metrics, step=trainer.global_step)
            else:
                logger.log_hyperparams(options)
                logger.log_metrics(metrics, trainer.global_step)


TRAINER_OPTIONS = ("max_epochs", "max_steps", "precision", "gradient_clip_val", "accumulate_grad_batches")


def flat_options(config: Mapping[str, Any]) -> dict[str, Any]:
    """What tells runs apart, by the names that it has on the command line; lists as text."""
    trainer = config.get("trainer") or {}
    chosen = {
        "seed": config.get("seed_everything"),
        "model": config.get("model"),
        "data": config.get("data"),
        "trainer": {name: trainer[name] for name in TRAINER_OPTIONS if trainer.get(name) is not None},
    }
    return {name: value for name, value in _flatten(chosen, "") if value is not None}


def _flatten(value: Any, name: str) -> list[tuple[str, Any]]:
    if not isinstance(value, Mapping):
        return [(name, value if isinstance(value, str | int | float | bool | None) else str(value))]
    parts = []
    for key, inner in value.items():
        if key == "class_path":
            parts.append((name, str(inner).rpartition(".")[2]))
        else:
            parts += _flatten(inner, name if key == "init_args" else f"{name}.{key}".strip("."))
    return parts
