"""Monitors distributed training: setup, slow processes, diverging gradients."""

from __future__ import annotations

import time
from typing import Any

import torch
from lightning import LightningModule, Trainer
from lightning_utilities.core.rank_zero import rank_zero_info, rank_zero_warn
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from cvr_lightning.callbacks.gradients import gradients
from cvr_lightning.callbacks.log_steps import has_logged, will_log
from cvr_lightning.callbacks.process_guard import ProcessGuard
from cvr_lightning.files.printable import counted
from cvr_lightning.models.devices import synchronize

IN_A_ROW = 3
"""Consecutive times that a process must be slowest before the log names it."""


class DDPMonitor(ProcessGuard):
    """Monitors the processes of a training run; inactive with one process.

    Replaces :class:`ProcessGuard`. Reports once: clips per step over all processes, learning rate, gradient
    exchange.

    Logs every ``log_every_n_steps`` steps, for each process R = 0, 1, ... up to ``per_process``, and as
    ``mean`` and ``max`` over all:

    - ``vitals/processes/step_s/R``: mean seconds per step since the last log.
    - ``vitals/processes/data_wait_s/R``: seconds of that spent waiting for the next batch.
    - ``vitals/processes/forward_s/R``: seconds of this step's forward pass, before any process waits for
      another; the device is synchronized for it.

    And for all processes together:

    - ``vitals/processes/slowest``: process with the longest data wait plus forward pass.
    - ``vitals/processes/slowdown``: that time relative to the median of the others.
    - ``vitals/processes/gradient_norm_spread``: (largest - smallest) / largest norm of the gradient after the
      exchange; 0 if all processes have the same gradient, as they should.

    Args:
        slow: Slowdown from which a process is reported, once, after three consecutive times.
        spread: Spread of the gradient norm from which a warning is given, once.
        per_process: Number of processes that are logged individually.
    """

    def __init__(self, slow: float = 1.5, spread: float = 1e-3, per_process: int = 16) -> None:
        super().__init__()
        if slow <= 1:
            raise ValueError(f"slow={slow} must be above 1")
        self.slow = slow
        self.spread = spread
        self.per_process = per_process

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Report the setup."""
        super().on_fit_start(trainer, pl_module)
        self._warned: set[str] = set()
        self._slow: tuple[int, ...] = ()
        self._logged_step = 0
        if trainer.world_size == 1:
            return
        clips = getattr(getattr(trainer, "datamodule", None), "batch_size", None)
        rate = getattr(pl_module, "learning_rate", None)
        for line in _statement(trainer, clips, rate):
            rank_zero_info(line)
        hook = _compression(pl_module)
        if hook and trainer.strategy.root_device.type != "cuda":
            rank_zero_warn(f"ddp_comm_hook {hook} has no effect: Lightning applies it to CUDA devices only")

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Restart the clocks: time between epochs does not count."""
        self._restart()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Restart the clocks: validation does not count."""
        self._restart()

    def _restart(self) -> None:
        self._started: float | None = None
        self._ended: float | None = None
        self._step_s: list[float] = []
        self._wait_s: list[float] = []
        self._forward_s = self._norm = float("nan")

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Record the time of the last step, and of waiting for its batch."""
        if trainer.world_size == 1:
            return
        now = self._clock(trainer, pl_module)
        if self._started is not None and self._ended is not None:
            self._step_s.append(now - self._started)
            self._wait_s.append(now - self._ended)
        self._started = now

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Tensor) -> None:
        """Record the time of the forward pass."""
        if trainer.world_size > 1 and self._started is not None:
            self._forward_s = self._clock(trainer, pl_module) - self._started
        super().on_before_backward(trainer, pl_module, loss)

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        """Record the norm of the gradient that this process steps with."""
        if trainer.world_size > 1 and will_log(trainer):
            self._norm = float(torch.nn.utils.get_total_norm(gradients(pl_module)))

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Compare the processes."""
        if trainer.world_size == 1:
            return
        self._ended = time.perf_counter()
        # With gradient accumulation, a step ends with its last batch and is logged once.
        if not has_logged(trainer) or trainer.global_step == self._logged_step or not self._step_s:
            return
        self._logged_step = trainer.global_step
        own = [_mean(self._step_s), _mean(self._wait_s), self._forward_s, self._norm]
        table = torch.zeros(trainer.world_size, len(own), device=pl_module.device)
        table[trainer.global_rank] = torch.tensor(own)
        self._step_s, self._wait_s = [], []
        pl_module.log_dict(self._metrics(trainer.strategy.reduce(table, reduce_op="sum").cpu()))
        self._ended = time.perf_counter()

    def _metrics(self, table: Tensor) -> dict[str, float]:
        """Metrics from a table (processes, 4) of step, wait and forward times and gradient norms."""
        metrics: dict[str, float] = {}
        for name, column in zip(("step_s", "data_wait_s", "forward_s"), table.T, strict=False):
            metrics[f"vitals/processes/{name}/mean"] = float(column.mean())
            metrics[f"vitals/processes/{name}/max"] = float(column.max())
            for process, value in enumerate(column[: self.per_process].tolist()):
                metrics[f"vitals/processes/{name}/{process}"] = value
        own = table[:, 1] + table[:, 2]
        slowest = int(own.argmax())
        others = torch.cat([own[:slowest], own[slowest + 1 :]]).median()
        slowdown = float(own[slowest] / others.clamp(min=1e-9))
        norms = table[:, 3]
        spread = float((norms.max() - norms.min()) / norms.max().clamp(min=1e-30))
        self._warn(table, slowest, slowdown, spread)
        return metrics | {
            "vitals/processes/slowest": float(slowest),
            "vitals/processes/slowdown": slowdown,
            "vitals/processes/gradient_norm_spread": spread,
        }

    def _warn(self, table: Tensor, slowest: int, slowdown: float, spread: float) -> None:
        wait, forward = float(table[slowest, 1]), float(table[slowest, 2])
        self._slow = (*self._slow, slowest)[-IN_A_ROW:] if slowdown > self.slow else ()
        if self._slow == (slowest,) * IN_A_ROW and f"slow {slowest}" not in self._warned:
            self._warned.add(f"slow {slowest}")
            remedy = "use more num_workers or a faster disk" if wait > forward else "check its device"
            rank_zero_warn(
                f"process {slowest} delays the others: {slowdown:.1f} times their median, "
                f"{wait:.3f} s for data and {forward:.3f} s for the forward pass; {remedy}"
            )
        if spread > self.spread and "spread" not in self._warned:
            self._warned.add("spread")
            norms = ", ".join(f"{norm:.4g}" for norm in table[:, 3].tolist())
            rank_zero_warn(
                f"the gradient norms of the processes should agree but differ by {100 * spread:.2g} %: "
                f"{norms}. Something changes gradients or weights in one process only"
            )

    @staticmethod
    def _clock(trainer: Trainer, pl_module: LightningModule) -> float:
        """The time, after synchronizing the device in logged steps only."""
        if will_log(trainer):
            synchronize(pl_module.device)
        return time.perf_counter()


def _statement(trainer: Trainer, clips: int | None, rate: float | None) -> list[str]:
    """One or two lines about the setup."""
    processes, accumulated = trainer.world_size, trainer.accumulate_grad_batches
    lines = []
    if clips is not None:
        parts = f"{counted(processes, 'process', 'processes')} x {counted(clips, 'clip')}"
        parts += f" x {accumulated} batches" * (accumulated > 1)
        lines.append(f"A step: {parts} = {counted(processes * clips * accumulated, 'clip')}")
    if rate is not None:
        lines.append(f"Learning rate: {rate:g} not scaled by the number of processes")
    ddp = trainer.strategy.model
    if isinstance(ddp, DistributedDataParallel):
        lines.append(
            f"Gradients: averaged over the processes by {torch.distributed.get_backend()}"
            + ", static graph" * ddp.static_graph
            + ", searching unused parameters in each step" * ddp.find_unused_parameters
        )
    return lines


def _compression(pl_module: LightningModule) -> str | None:
    """The communication hook set on the command line."""
    strategy = getattr(pl_module, "run_config", {}).get("trainer", {}).get("strategy")
    options = strategy.get("init_args") or {} if isinstance(strategy, dict) else {}
    hook = options.get("ddp_comm_hook")
    return str(hook).rpartition(".")[2] if hook else None


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)
