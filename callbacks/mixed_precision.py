"""Monitors mixed precision: dtypes of the modules, overflow, underflow and skipped steps."""

from __future__ import annotations

from typing import Any

import torch
from lightning import LightningModule, Trainer
from lightning_utilities.core.rank_zero import rank_zero_info, rank_zero_warn
from torch import Tensor

from cvr_lightning.callbacks.dtypes import DtypeRecorder
from cvr_lightning.callbacks.finite import FiniteGradients, loss_scaler
from cvr_lightning.callbacks.gradients import fractions_out_of_range, gradients
from cvr_lightning.callbacks.log_steps import will_log
from cvr_lightning.errors import RunError
from cvr_lightning.models.devices import computes_bfloat16, device_name

COMPUTED_IN = {
    "32-true": torch.float32,
    "64-true": torch.float64,
    "16-mixed": torch.float16,
    "bf16-mixed": torch.bfloat16,
    "bf16-true": torch.bfloat16,
}
"""Supported precisions and the dtype of their matrix products."""
SHORT = {"16": "16-mixed", "bf16": "bf16-mixed", "32": "32-true", "64": "64-true", "None": "32-true"}
"""Old names of precisions in Lightning."""


class MixedPrecision(FiniteGradients):
    """Reports the precision of a training run; replaces :class:`FiniteGradients`.

    Reports once, after the first step, in which dtypes modules compute, and what stays in float32.

    Logs every ``log_every_n_steps`` steps:

    - ``vitals/precision/skipped_steps``: skipped steps since the run was started or resumed.
    - ``vitals/precision/loss_scale``: loss scale, with 16-mixed only.
    - ``vitals/precision/gradient_zero``: fraction of the gradient's elements that are 0.
    - ``vitals/precision/gradient_underflow``: fraction that is nonzero but, at the loss scale, below the
      smallest normal number of the precision.
    - ``vitals/precision/gradient_overflow``: fraction that is not finite.

    Args:
        patience: As in :class:`FiniteGradients`.

    Raises:
        RunError: Before training, for a precision that the device or this package does not support.
    """

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Refuse unsupported precisions."""
        if stage == "fit":
            check_precision(str(trainer.precision), str(trainer.precision), trainer.strategy.root_device)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Reset for a new run."""
        super().on_fit_start(trainer, pl_module)
        self._recorder: DtypeRecorder | None = DtypeRecorder()

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """In the first step, record the dtypes of the modules."""
        super().on_train_batch_start(trainer, pl_module, batch, batch_idx)
        if self._recorder is not None:
            self._recorder.attach(pl_module)

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Tensor) -> None:
        """Report the dtypes."""
        if self._recorder is not None:
            self._recorder.detach()
            for line in self._recorder.lines(str(trainer.precision), pl_module, loss):
                rank_zero_info(line)
            self._recorder = None

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        """Log metrics of the gradient before it changes a weight."""
        if will_log(trainer):
            pl_module.log_dict(self._metrics(trainer, gradients(pl_module)))
        super().on_before_optimizer_step(trainer, pl_module, optimizer)

    def _metrics(self, trainer: Trainer, own: list[Tensor]) -> dict[str, float | Tensor]:
        scaler = loss_scaler(trainer)
        scale = 1.0 if scaler is None else scaler.get_scale()
        fractions = fractions_out_of_range(own, COMPUTED_IN[str(trainer.precision)], scale)
        metrics: dict[str, float | Tensor] = {"vitals/precision/skipped_steps": float(self._skipped)}
        if scaler is not None:
            metrics["vitals/precision/loss_scale"] = scale
        return metrics | {f"vitals/precision/gradient_{name}": part for name, part in fractions.items()}


def check_precision(asked: str, given: str, device: torch.device) -> None:
    """Refuse an unsupported precision, where Lightning would fall back to another or fail later.

    Args:
        asked: The configured precision.
        given: The trainer's precision.
        device: The training device.

    Raises:
        RunError: Names the precision, the device and supported ones.
    """
    remedy = "use bf16-mixed or 32-true" if device.type == "cpu" else "use 16-mixed or 32-true"
    if asked not in COMPUTED_IN:
        raise RunError(f"precision {asked} is not supported; choose one of {', '.join(COMPUTED_IN)}")
    if asked != given:
        raise RunError(f"precision {asked} is not available on this {device.type}: {remedy}")
    if asked.startswith("bf16") and not computes_bfloat16(device):
        raise RunError(f"precision {asked}: {device_name(device)} does not compute in bfloat16: {remedy}")
    if asked == "bf16-true":
        rank_zero_warn(
            "precision bf16-true: bfloat16 has 8 significant bits, so relative changes below 1/256 "
            "of a weight are lost; bf16-mixed keeps them"
        )
