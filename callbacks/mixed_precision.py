"""Numbers of fewer bits: which part computes in which, and what becomes of those that do not fit."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch import Callback
from lightning_utilities.core.rank_zero import rank_zero_info, rank_zero_warn
from torch import Tensor

from cvr_lightning.callbacks.dtypes import DtypeRecorder
from cvr_lightning.callbacks.gradients import gradients, shares_out_of_range
from cvr_lightning.callbacks.log_steps import will_log
from cvr_lightning.callbacks.non_finite import locate_non_finite
from cvr_lightning.errors import RunError, TrainingError

log = logging.getLogger(__name__)

COMPUTED_IN = {
    "32-true": torch.float32,
    "64-true": torch.float64,
    "16-mixed": torch.float16,
    "bf16-mixed": torch.bfloat16,
    "bf16-true": torch.bfloat16,
}
"""The supported precisions and the numbers of their matrix products."""
SHORT = {"16": "16-mixed", "bf16": "bf16-mixed", "32": "32-true", "64": "64-true", "None": "32-true"}
"""What Lightning takes the old names for."""


class MixedPrecision(Callback):
    """Makes the precision of a training run visible, and its accidents harmless.

    Said once, after the first step: which modules compute in which numbers, as seen there, and what stays in
    float32. A step whose gradient is not finite changes no weight; the log names the module in which the
    first such number appears, for which the step is repeated under watch. After ``patience`` of them in a row
    the run stops. Weights that are not finite are never saved, so the last checkpoint stays a good one.

    Logged every ``log_every_n_steps`` steps:

    - ``vitals/precision/skipped_steps``: steps without effect since the run was started or resumed.
    - ``vitals/precision/loss_scale``: factor of the loss in the backward pass; 16-mixed alone.
    - ``vitals/precision/gradient_zero``: share of the gradient's elements that are 0.
    - ``vitals/precision/gradient_underflow``: share that is not 0, but at the loss scale below the smallest
      number that the precision holds with all of its digits.
    - ``vitals/precision/gradient_overflow``: share that is not finite.

    Args:
        patience: Steps in a row without a finite gradient after which the run stops. With 16-mixed, several
            in a row are how the loss scale is found.

    Raises:
        RunError: Before training, for a precision that the device or this package does not have.
        TrainingError: Where training cannot go on, or weights to be saved are not finite.
    """

    def __init__(self, patience: int = 10) -> None:
        if patience < 1:
            raise ValueError(f"patience={patience} must be at least 1")
        self.patience = patience

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Refuse a precision that is not to be had."""
        if stage == "fit":
            configured = getattr(pl_module, "run_config", {}).get("trainer", {})
            asked = str(configured.get("precision", trainer.precision))
            check_precision(SHORT.get(asked, asked), str(trainer.precision), trainer.strategy.root_device)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forget the last run."""
        self._skipped = self._in_a_row = 0
        self._recorder: DtypeRecorder | None = DtypeRecorder()
        if trainer.precision == "bf16-true":
            rank_zero_warn(
                "precision bf16-true: a weight of 8 bits does not change by less than 1/256 of itself, so "
                "small updates are lost; bf16-mixed keeps them"
            )

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Keep the batch at hand; in the first step, look at the numbers that the modules give."""
        self._step = (batch, batch_idx)
        if self._recorder is not None:
            self._recorder.attach(pl_module)

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Tensor) -> None:
        """Say which module computes in which numbers."""
        if self._recorder is not None:
            self._recorder.detach()
            for line in self._recorder.lines(str(trainer.precision), pl_module, loss):
                rank_zero_info(line)
            self._recorder = None

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        """Look at the gradient before it changes a weight; it is the same in all processes."""
        own = gradients(pl_module)
        if will_log(trainer):
            pl_module.log_dict(self._figures(trainer, own))
        if bool(torch.isfinite(torch.nn.utils.get_total_norm(own))):
            self._in_a_row = 0
            return
        self._skipped += 1
        self._in_a_row += 1
        place = self._locate(trainer, pl_module)
        if loss_scaler(trainer) is None:
            optimizer.zero_grad(set_to_none=True)  # a step without gradients changes nothing
        rank_zero_warn(f"step {trainer.global_step} is skipped, its gradient is not finite: {place}")
        if self._in_a_row >= self.patience:
            raise TrainingError(
                f"{self.patience} steps in a row, to step {trainer.global_step}, had no finite gradient; the "
                f"last was lost at {place}. {_last_checkpoint(trainer)} Lower learning_rate, set "
                f"gradient_clip_val, or take a precision of a larger range than {trainer.precision}"
            )

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Let go of the batch."""
        self._step = (None, 0)

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Refuse to write weights that are not finite over those that were.

        Raises:
            TrainingError: Naming the weights.
        """
        for name, weight in pl_module.named_parameters():
            if not bool(torch.isfinite(weight).all()):
                raise TrainingError(
                    f"the weights {name} are not finite after step {trainer.global_step}, and are not saved. "
                    f"{_last_checkpoint(trainer)} Lower learning_rate or set gradient_clip_val"
                )

    def _figures(self, trainer: Trainer, own: list[Tensor]) -> dict[str, float | Tensor]:
        scaler = loss_scaler(trainer)
        scale = 1.0 if scaler is None else scaler.get_scale()
        shares = shares_out_of_range(own, COMPUTED_IN[str(trainer.precision)], scale)
        figures: dict[str, float | Tensor] = {"vitals/precision/skipped_steps": float(self._skipped)}
        if scaler is not None:
            figures["vitals/precision/loss_scale"] = scale
        return figures | {f"vitals/precision/gradient_{name}": part for name, part in shares.items()}

    def _locate(self, trainer: Trainer, pl_module: LightningModule) -> str:
        """Where the first number that is not finite appears, in the batch of whichever process has it."""
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


def check_precision(asked: str, given: str, device: torch.device) -> None:
    """Refuse a precision that is not to be had, where Lightning would take another or an error would follow.

    Args:
        asked: What the configuration says.
        given: What the trainer took.
        device: What it trains on.

    Raises:
        RunError: Naming the precision, the device and what to take.
    """
    remedy = "take bf16-mixed or 32-true" if device.type == "cpu" else "take 16-mixed or 32-true"
    if asked not in COMPUTED_IN:
        raise RunError(f"precision {asked} is not supported; choose one of {', '.join(COMPUTED_IN)}")
    if asked != given:
        raise RunError(f"precision {asked} is not to be had on this {device.type}: {remedy}")
    if (
        asked.startswith("bf16")
        and device.type == "cuda"
        and not torch.cuda.is_bf16_supported(including_emulation=False)
    ):
        name = torch.cuda.get_device_name(device)
        raise RunError(f"precision {asked}: {name} does not compute in bfloat16: {remedy}")


def loss_scaler(trainer: Trainer) -> torch.amp.GradScaler | None:
    """The scaler of 16-mixed; None with other precisions."""
    return getattr(trainer.precision_plugin, "scaler", None)


def _last_checkpoint(trainer: Trainer) -> str:
    """A sentence on the last checkpoint."""
    saved = [Path(getattr(callback, "best_model_path", "")) for callback in trainer.checkpoint_callbacks]
    files = [path for path in saved if path.is_file()]
    if not files:
        return "No checkpoint was written before."
    return f"The last good checkpoint is {max(files, key=lambda path: path.stat().st_mtime)}."
