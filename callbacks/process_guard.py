"""Prevents the processes of a run from waiting for each other forever."""

from __future__ import annotations

import threading

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch import Callback
from lightning.pytorch.strategies import FSDPStrategy, ModelParallelStrategy
from lightning_utilities.core.rank_zero import rank_zero_info
from torch import Tensor
from torch.multiprocessing.spawn import ProcessExitedException
from torch.nn.parallel import DistributedDataParallel

from cvr_lightning.callbacks.gradients import unused_parameters
from cvr_lightning.callbacks.peers import Peers, is_lost_connection
from cvr_lightning.errors import RunError, TrainingError


class ProcessGuard(Callback):
    """Detects dead processes and unused parameters; inactive with one process.

    Parameters that the loss does not depend on are reported before the first exchange of gradients, where
    DDP would fail a step later or hang. If a process dies, the others name it and end.

    Raises:
        RunError: Before training, for a strategy that splits the model; in the first step, for parameters
            that the loss does not depend on.
        TrainingError: Another process has died; the message names it.
    """

    def __init__(self) -> None:
        self._peers: Peers | None = None
        self._finished: threading.Event | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Refuse strategies that shard the model; gather the processes."""
        if isinstance(trainer.strategy, FSDPStrategy | ModelParallelStrategy):
            raise RunError(
                f"{type(trainer.strategy).__name__} shards the model, which is not supported: it "
                "fits on one device, and Lightning does not clip by the gradient's "
                "norm there. Set --trainer.strategy ddp"
            )
        if trainer.world_size > 1:
            self._peers = Peers.gather()
            self._finished = threading.Event()
            self._peers.end_with_parent(self._finished)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Check the parameters again in each training."""
        self._checked = False

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Tensor) -> None:
        """In the first step, look for parameters without a gradient."""
        if trainer.world_size > 1 and not self._checked:
            self._checked = True
            self._check_parameters(trainer, pl_module, loss)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Name the process that died, if that is why this one cannot continue.

        Raises:
            TrainingError: Replaces the error of the lost connection.
        """
        if isinstance(exception, ProcessExitedException):  # in the main process of ddp_spawn
            message = f"{exception}; the others end too. Resume with --ckpt_path last"
            raise TrainingError(message) from exception
        if self._peers is None or not is_lost_connection(exception):
            return
        for logger in trainer.loggers:
            logger.finalize("failed")
        raise TrainingError(self._peers.describe_loss(exception)) from exception

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Stop watching the parent process."""
        if self._finished is not None:
            self._finished.set()

    def _check_parameters(self, trainer: Trainer, pl_module: LightningModule, loss: Tensor) -> None:
        """Refuse parameters that the loss does not depend on, in all processes or in some."""
        ddp = trainer.strategy.model
        if not isinstance(ddp, DistributedDataParallel):
            return
        names = [name for name, parameter in pl_module.named_parameters() if parameter.requires_grad]
        missing = set(unused_parameters(pl_module, loss))
        own = torch.tensor([float(name in missing) for name in names], device=pl_module.device)
        fraction = trainer.strategy.reduce(own, reduce_op="mean").tolist()
        unused = [name for name, ratio in zip(names, fraction, strict=True) if ratio]
        if not unused:
            return
        if ddp.find_unused_parameters or ddp.static_graph:
            rank_zero_info(f"The loss does not depend on {', '.join(unused)}; DDP is configured for that")
            return
        some = " of some processes" if all(0 < ratio < 1 for ratio in fraction if ratio) else ""
        raise RunError(
            f"the loss{some} does not depend on {', '.join(unused)}: DDP would wait for these gradients. "
            "Set requires_grad to False if they are not trained, or the strategy's "
            "find_unused_parameters to true (configs/ddp.yaml)"
        )
