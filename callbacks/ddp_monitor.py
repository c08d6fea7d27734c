"""Many processes: what they train on together, who keeps the others waiting, and what ended one of them."""

from __future__ import annotations

import threading
import time
import warnings
from typing import Any

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch import Callback
from lightning.pytorch.strategies import FSDPStrategy, ModelParallelStrategy
from lightning_utilities.core.rank_zero import rank_zero_info, rank_zero_warn
from torch import Tensor
from torch.multiprocessing.spawn import ProcessExitedException
from torch.nn.parallel import DistributedDataParallel

from cvr_lightning.callbacks.gradients import gradients, unused_parameters
from cvr_lightning.callbacks.log_steps import has_logged, will_log
from cvr_lightning.callbacks.peers import Peers, is_lost_connection
from cvr_lightning.errors import RunError, TrainingError

IN_A_ROW = 3
"""So often a process must be the slowest before the log names it."""

# torch says it where gradient and bucket differ in the stride of an axis of one element, which means nothing:
# kernels of depthwise and of 1x1 convolutions on channels-last features.
warnings.filterwarnings(
    "ignore", message=r"(?s)Grad strides do not match.*sizes\(\) = \[\d+, (1, |\d+, 1, 1\])"
)


class DDPMonitor(Callback):
    """Watches the processes of a training run; does nothing where there is one.

    Said once: clips of a step over all processes, the learning rate, and how gradients are exchanged.
    Parameters that the loss does not depend on are named before the first exchange of gradients, where plain
    DDP would stop a step later or hang. Where a process dies, the others say which and end.

    Logged every ``log_every_n_steps`` steps, for each process R = 0, 1, ... up to ``per_process``, and as
    ``mean`` and ``max`` over all:

    - ``vitals/processes/step_s/R``: seconds of a step, from one to the next, mean since the last time.
    - ``vitals/processes/data_wait_s/R``: the seconds of it in which the process waited for its next batch.
    - ``vitals/processes/forward_s/R``: seconds of the forward pass of this step, before which no process
      waits for another; the device is synchronised for it.

    And one figure for all:

    - ``vitals/processes/slowest``: the process whose wait for data and forward pass take longest.
    - ``vitals/processes/slowdown``: these, relative to the median of the others.
    - ``vitals/processes/gradient_norm_spread``: largest less smallest norm of the gradient after the
      exchange, relative to the largest; 0 where all processes have the same gradient, as they must.

    Args:
        slow: Slowdown from which a process is named in the log, once, where it lasts three times in a row.
        spread: Spread of the gradient's norm from which a warning is given, once.
        per_process: Processes of which the figures are logged one by one.

    Raises:
        RunError: Before training, for a strategy that splits the model; in the first step, for parameters
            that the loss does not depend on.
        TrainingError: Where another process has died; it says which.
    """

    def __init__(self, slow: float = 1.5, spread: float = 1e-3, per_process: int = 16) -> None:
        if slow <= 1:
            raise ValueError(f"slow={slow} must be above 1")
        self.slow = slow
        self.spread = spread
        self.per_process = per_process
        self._peers: Peers | None = None
        self._finished: threading.Event | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Refuse what would split the model; note who takes part."""
        if isinstance(trainer.strategy, FSDPStrategy | ModelParallelStrategy):
            raise RunError(
                f"{type(trainer.strategy).__name__} splits a model that does not fit one device. This one "
                "fits many times over, and it has not been tried; nor does Lightning clip by the gradient's "
                "norm there, as the configurations ask for. Set --trainer.strategy ddp"
            )
        if trainer.world_size > 1:
            self._peers = Peers.gather()
            self._finished = threading.Event()
            self._peers.end_with_parent(self._finished)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """State what the processes train on together."""
        self._checked = False
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
            rank_zero_warn(f"ddp_comm_hook {hook} has no effect: Lightning applies it to CUDA devices alone")

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clocks anew: what lies between epochs is no step."""
        self._restart()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clocks anew: a validation is no step."""
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
        """Note how long the last step took, and how long its batch was waited for."""
        if trainer.world_size == 1:
            return
        now = self._clock(trainer, pl_module)
        if self._started is not None and self._ended is not None:
            self._step_s.append(now - self._started)
            self._wait_s.append(now - self._ended)
        self._started = now

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Tensor) -> None:
        """Note how long the forward pass took; in the first step, look for parameters without a gradient."""
        if trainer.world_size == 1:
            return
        if self._started is not None:
            self._forward_s = self._clock(trainer, pl_module) - self._started
        if not self._checked:
            self._checked = True
            self._check_parameters(trainer, pl_module, loss)

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        """Take the norm of the gradient that this process will step with."""
        if trainer.world_size > 1 and will_log(trainer):
            self._norm = float(torch.nn.utils.get_total_norm(gradients(pl_module)))

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Compare the processes."""
        if trainer.world_size == 1:
            return
        self._ended = time.perf_counter()
        # A step may be of several batches: it is taken after the last, and logged once.
        if not has_logged(trainer) or trainer.global_step == self._logged_step or not self._step_s:
            return
        self._logged_step = trainer.global_step
        own = [_mean(self._step_s), _mean(self._wait_s), self._forward_s, self._norm]
        table = torch.zeros(trainer.world_size, len(own), device=pl_module.device)
        table[trainer.global_rank] = torch.tensor(own)
        self._step_s, self._wait_s = [], []
        pl_module.log_dict(self._figures(trainer.strategy.reduce(table, reduce_op="sum").cpu()))
        self._ended = time.perf_counter()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Say which process has died, where that is why this one cannot go on.

        Raises:
            TrainingError: In the place of the lost connection.
        """
        if isinstance(exception, ProcessExitedException):  # what ddp_spawn's main process sees
            message = f"{exception}; the others end too. Resume with --ckpt_path last"
            raise TrainingError(message) from exception
        if self._peers is None or not is_lost_connection(exception):
            return
        for logger in trainer.loggers:
            logger.finalize("failed")
        raise TrainingError(self._peers.describe_loss(exception)) from exception

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """From here on, a process that ends has done its work."""
        if self._finished is not None:
            self._finished.set()

    def _figures(self, table: Tensor) -> dict[str, float]:
        """What is logged of a table (processes, 4) of step, wait, forward pass and gradient norm."""
        figures: dict[str, float] = {}
        for name, column in zip(("step_s", "data_wait_s", "forward_s"), table.T, strict=False):
            figures[f"vitals/processes/{name}/mean"] = float(column.mean())
            figures[f"vitals/processes/{name}/max"] = float(column.max())
            for process, value in enumerate(column[: self.per_process].tolist()):
                figures[f"vitals/processes/{name}/{process}"] = value
        own = table[:, 1] + table[:, 2]
        slowest = int(own.argmax())
        others = torch.cat([own[:slowest], own[slowest + 1 :]]).median()
        slowdown = float(own[slowest] / others.clamp(min=1e-9))
        norms = table[:, 3]
        spread = float((norms.max() - norms.min()) / norms.max().clamp(min=1e-30))
        self._warn(table, slowest, slowdown, spread)
        return figures | {
            "vitals/processes/slowest": float(slowest),
            "vitals/processes/slowdown": slowdown,
            "vitals/processes/gradient_norm_spread": spread,
        }

    def _warn(self, table: Tensor, slowest: int, slowdown: float, spread: float) -> None:
        wait, forward = float(table[slowest, 1]), float(table[slowest, 2])
        self._slow = (*self._slow, slowest)[-IN_A_ROW:] if slowdown > self.slow else ()
        if self._slow == (slowest,) * IN_A_ROW and f"slow {slowest}" not in self._warned:
            self._warned.add(f"slow {slowest}")
            remedy = "more num_workers or a nearer disk" if wait > forward else "see what its device does"
            rank_zero_warn(
                f"process {slowest} keeps the others waiting: {slowdown:.1f} times their median, "
                f"{wait:.3f} s for data and {forward:.3f} s for the forward pass; {remedy}"
            )
        if spread > self.spread and "spread" not in self._warned:
            self._warned.add("spread")
            norms = ", ".join(f"{norm:.4g}" for norm in table[:, 3].tolist())
            rank_zero_warn(
                f"the norms of the processes' gradients that should agree differ by {100 * spread:.2g} %: "
                f"{norms}. Something changes the gradient or the weights of one process alone"
            )

    def _check_parameters(self, trainer: Trainer, pl_module: LightningModule, loss: Tensor) -> None:
        """Refuse parameters that the loss of no process, or of some alone, depends on."""
        ddp = trainer.strategy.model
        if not isinstance(ddp, DistributedDataParallel):
            return
        names = [name for name, parameter in pl_module.named_parameters() if parameter.requires_grad]
        missing = set(unused_parameters(pl_module, loss))
        own = torch.tensor([float(name in missing) for name in names], device=pl_module.device)
        share = trainer.strategy.reduce(own, reduce_op="mean").tolist()
        unused = [name for name, part in zip(names, share, strict=True) if part]
        if not unused:
            return
        if ddp.find_unused_parameters or ddp.static_graph:
            rank_zero_info(f"The loss does not depend on {', '.join(unused)}, for which DDP is prepared")
            return
        some = " of some processes" if all(0 < part < 1 for part in share if part) else ""
        raise RunError(
            f"the loss{some} does not depend on {', '.join(unused)}: DDP would wait for these gradients. "
            "Set requires_grad to False where they are not to be trained, or the strategy's "
            "find_unused_parameters to true (configs/ddp.yaml)"
        )

    @staticmethod
    def _clock(trainer: Trainer, pl_module: LightningModule) -> float:
        """The time; the device is waited for in steps that are logged, no others."""
        if pl_module.device.type == "cuda" and will_log(trainer):
            torch.cuda.synchronize(pl_module.device)
        return time.perf_counter()


def _statement(trainer: Trainer, clips: int | None, rate: float | None) -> list[str]:
    """What the processes do together, in a line or two."""
    processes, accumulated = trainer.world_size, trainer.accumulate_grad_batches
    lines = []
    if clips is not None:
        parts = f"{processes} processes x {clips} clips" + f" x {accumulated} batches" * (accumulated > 1)
        lines.append(f"A step: {parts} = {processes * clips * accumulated} clips")
    if rate is not None:
        lines.append(f"Learning rate: {rate:g} as given, whatever the number of processes")
    ddp = trainer.strategy.model
    if isinstance(ddp, DistributedDataParallel):
        lines.append(
            f"Gradients: averaged over the processes by {torch.distributed.get_backend()}"
            + ", static graph" * ddp.static_graph
            + ", unused parameters looked for in each step" * ddp.find_unused_parameters
        )
    return lines


def _compression(pl_module: LightningModule) -> str | None:
    """The hook that the command line was given for the exchange of gradients."""
    strategy = getattr(pl_module, "run_config", {}).get("trainer", {}).get("strategy")
    options = strategy.get("init_args") or {} if isinstance(strategy, dict) else {}
    hook = options.get("ddp_comm_hook")
    return str(hook).rpartition(".")[2] if hook else None


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)
