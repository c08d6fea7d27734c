"""Skips training steps with non-finite gradients, and refuses to save non-finite weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch import Callback
from lightning_utilities.core.rank_zero import rank_zero_warn
from torch import Tensor

from cvr_lightning.callbacks.gradients import gradients
from cvr_lightning.callbacks.non_finite import locate_non_finite
from cvr_lightning.errors import TrainingError
from cvr_lightning.files.printable import counted


class FiniteGradients(Callback):
    """Skips steps with a non-finite gradient, and never saves non-finite weights.

    A skipped step changes no weight. It is repeated with hooks, and the log names the module with the first
    non-finite value. After ``patience`` skipped steps in a row the run stops; its last checkpoint is finite.

    Args:
        patience: Consecutive skipped steps after which the run stops. With 16-mixed a few are normal, while
            the loss scale is adjusted.

    Raises:
        TrainingError: Too many steps in a row were skipped, or weights to be saved are not finite.
    """

    def __init__(self, patience: int = 10) -> None:
        if patience < 1:
            raise ValueError(f"patience={patience} must be at least 1")
        self.patience = patience

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Reset for a new run."""
        self._skipped = self._in_a_row = 0

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Keep the batch, to repeat its step."""
        self._step = (batch, batch_idx)

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        """Check the gradient before it changes a weight; it is the same in all processes."""
        own = gradients(pl_module)
        if bool(torch.isfinite(torch.nn.utils.get_total_norm(own))):
            self._in_a_row = 0
            return
        self._skipped += 1
        self._in_a_row += 1
        place = self._locate(trainer, pl_module)
        if loss_scaler(trainer) is None:
            optimizer.zero_grad(set_to_none=True)  # without gradients the step changes nothing
        rank_zero_warn(f"step {trainer.global_step} is skipped, its gradient is not finite: {place}")
        if self._in_a_row >= self.patience:
            raise TrainingError(
                f"{counted(self.patience, 'step')} in a row, to step {trainer.global_step}, had no finite "
                f"gradient; the last was lost at {place}. {_last_checkpoint(trainer)} Lower learning_rate, "
                f"set gradient_clip_val, or use a precision with a larger range than {trainer.precision}"
            )

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Release the batch."""
        self._step = (None, 0)

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Refuse to overwrite a checkpoint with non-finite weights.

        Raises:
            TrainingError: Weights are not finite; names them.
        """
        for name, weight in pl_module.named_parameters():
            if not bool(torch.isfinite(weight).all()):
                raise TrainingError(
                    f"the weights {name} are not finite after step {trainer.global_step}, and are not saved. "
                    f"{_last_checkpoint(trainer)} Lower learning_rate or set gradient_clip_val"
                )

    def _locate(self, trainer: Trainer, pl_module: LightningModule) -> str:
        """Name the module where the first non-finite value appears, in the first process that has one."""
        scaler = loss_scaler(trainer)

        def run() -> Tensor:
            with trainer.precision_plugin.forward_context(), torch.enable_grad():
                loss: Tensor = pl_module.training_step(*self._step)  # type: ignore[assignment]
                return loss

        devices = [pl_module.device] if pl_module.device.type == "cuda" else []
        with torch.random.fork_rng(devices):
            place = locate_non_finite(pl_module, run, 1.0 if scaler is None else scaler.get_scale())
        places: list[str | None] = [place] * trainer.world_size
        if trainer.world_size > 1:
            torch.distributed.all_gather_object(places, place)
        found = [(rank, text) for rank, text in enumerate(places) if text]
        if not found:
            return "it could not be repeated"
        rank, text = found[0]
        return text if trainer.world_size == 1 else f"{text}, in process {rank}"


def loss_scaler(trainer: Trainer) -> torch.amp.GradScaler | None:
    """The gradient scaler of 16-mixed; None with other precisions."""
    return getattr(trainer.precision_plugin, "scaler", None)


def _last_checkpoint(trainer: Trainer) -> str:
    """A sentence naming the last checkpoint."""
    saved = [Path(getattr(callback, "best_model_path", "")) for callback in trainer.checkpoint_callbacks]
    files = [path for path in saved if path.is_file()]
    if not files:
        return "No checkpoint has been written."
    return f"The last good checkpoint is {max(files, key=lambda path: path.stat().st_mtime)}."
