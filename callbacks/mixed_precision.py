"""Monitors mixed precision: dtypes of the modules, overflow, underflow and skipped steps."""

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
from cvr_lightning.callbacks.gradients import fractions_out_of_range, gradients
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
"""Supported precisions and the dtype of their matrix products."""
SHORT = {"16": "16-mixed", "bf16": "bf16-mixed", "32": "32-true", "64": "64-true", "None": "32-true"}
"""Old names of precisions in Lightning."""


class MixedPrecision(Callback):
    """Reports the precision of a training run and makes non-finite gradients harmless.

    Reports once, after the first step, in which dtypes modules compute, and what stays in float32. A step
    with a non-finite gradient changes no weight; the step is repeated with hooks, and the log names the
    module where the first non-finite value appears. After ``patience`` such steps in a row the run stops.
    Non-finite weights are never saved, so the last checkpoint stays usable.

    Logs every ``log_every_n_steps`` steps:

    - ``vitals/precision/skipped_steps``: skipped steps since the run was started or resumed.
    - ``vitals/precision/loss_scale``: loss scale, with 16-mixed only.
    - ``vitals/precision/gradient_zero``: fraction of the gradient's elements that are 0.
    - ``vitals/precision/gradient_underflow``: fraction that is nonzero but, at the loss scale, below the
      smallest normal number of the precision.
    - ``vitals/precision/gradient_overflow``: fraction that is not finite.

    Args:
        patience: Consecutive steps without a finite gradient after which the run stops. With 16-mixed, a few
            are normal while the loss scale is found.

    Raises:
        RunError: Before training, for a precision that the device or this package does not support.
        TrainingError: Training cannot continue, or weights to be saved are not finite.
    """

    def __init__(self, patience: int = 10) -> None:
        if patience < 1:
            raise ValueError(f"patience={patience} must be at least 1")
        self.patience = patience

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Refuse unsupported precisions."""
        if stage == "fit":
            configured = getattr(pl_module, "run_config", {}).get("trainer", {})
            asked = str(configured.get("precision", trainer.precision))
            check_precision(SHORT.get(asked, asked), str(trainer.precision), trainer.strategy.root_device)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Reset for a new run."""
        self._skipped = self._in_a_row = 0
        self._recorder: DtypeRecorder | None = DtypeRecorder()
        if trainer.precision == "bf16-true":
            rank_zero_warn(
                "precision bf16-true: bfloat16 has 8 significant bits, so relative changes below 1/256 "
                "of a weight are lost; bf16-mixed keeps them"
            )

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Keep the batch; in the first step, record the modules' dtypes."""
        self._step = (batch, batch_idx)
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
        """Check the gradient before it changes a weight; it is the same in all processes."""
        own = gradients(pl_module)
        if will_log(trainer):
            pl_module.log_dict(self._metrics(trainer, own))
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
                f"{self.patience} steps in a row, to step {trainer.global_step}, had no finite gradient; the "
                f"last was lost at {place}. {_last_checkpoint(trainer)} Lower learning_rate, set "
                f"gradient_clip_val, or use a precision with a larger range than {trainer.precision}"
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

    def _metrics(self, trainer: Trainer, own: list[Tensor]) -> dict[str, float | Tensor]:
        scaler = loss_scaler(trainer)
        scale = 1.0 if scaler is None else scaler.get_scale()
        fractions = fractions_out_of_range(own, COMPUTED_IN[str(trainer.precision)], scale)
        metrics: dict[str, float | Tensor] = {"vitals/precision/skipped_steps": float(self._skipped)}
        if scaler is not None:
            metrics["vitals/precision/loss_scale"] = scale
        return metrics | {f"vitals/precision/gradient_{name}": part for name, part in fractions.items()}

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
    if (
        asked.startswith("bf16")
        and device.type == "cuda"
        and not torch.cuda.is_bf16_supported(including_emulation=False)
    ):
        name = torch.cuda.get_device_name(device)
        raise RunError(f"precision {asked}: {name} does not compute in bfloat16: {remedy}")


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
