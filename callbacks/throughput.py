"""Training throughput, data waiting time and peak memory."""

from __future__ import annotations

import sys
import time
from typing import Any

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch import Callback

from cvr_lightning.callbacks.log_steps import is_logged
from cvr_lightning.callbacks.loggers import log_scalars
from cvr_lightning.clip import CompressedClip
from cvr_lightning.models.devices import synchronize

GIB = 2**30


def synchronized_clock(device: torch.device) -> float:
    """Seconds of a monotonic clock, after synchronizing the device."""
    synchronize(device)
    return time.perf_counter()


class Throughput(Callback):
    """Measures training throughput between log steps.

    Logs on the trainer's log steps (``log_every_n_steps``):

    - ``vitals/throughput/videos_per_second``: including reading, over all processes.
    - ``vitals/throughput/videos_per_second_without_reading``: the same without waiting for batches.
    - ``vitals/throughput/waiting_for_data``: fraction of the time, 0 to 1, spent waiting for the next batch.
    - ``vitals/throughput/peak_memory_gib``: GPU memory allocated by PyTorch, since the run began; without
      a GPU, the largest resident set size (not on Windows).

    The device is synchronized before and after a step. Excluded are the first step (start of workers, warm-up
    of kernels), sanity checking, validation, and time between epochs. The metrics are those of the first
    process, multiplied by the number of processes. Works with any logger.
    """

    def __init__(self) -> None:
        self._step = 0
        self._waiting_since: float | None = None
        self._start = 0.0
        self._reset()

    def _reset(self) -> None:
        self._videos = 0
        self._waited_s = 0.0
        self._worked_s = 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Exclude the first step."""
        self._reset()
        self._is_first = True
        if pl_module.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(pl_module.device)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start waiting for the epoch's first batch."""
        self._waiting_since = synchronized_clock(pl_module.device)

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: CompressedClip, batch_idx: int
    ) -> None:
        """Stop waiting: the batch has arrived."""
        self._step = trainer.global_step
        self._start = synchronized_clock(pl_module.device)
        if self._waiting_since is not None:
            self._waited_s += self._start - self._waiting_since

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: CompressedClip,
        batch_idx: int,
    ) -> None:
        """End the step; log on log steps."""
        now = synchronized_clock(pl_module.device)
        self._worked_s += now - self._start
        self._videos += len(batch)
        if self._is_first:
            self._is_first = False
            self._reset()
        elif is_logged(trainer, self._step + 1) and trainer.global_step != self._step:
            log_scalars(trainer, self._scalars(trainer, pl_module.device), self._step)
            self._reset()
        self._waiting_since = now

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Restart waiting: validation does not count."""
        self._waiting_since = synchronized_clock(pl_module.device)

    def _scalars(self, trainer: Trainer, device: torch.device) -> dict[str, float]:
        videos, whole_s = self._videos * trainer.world_size, self._waited_s + self._worked_s
        scalars = {
            "vitals/throughput/videos_per_second": videos / max(whole_s, 1e-9),
            "vitals/throughput/videos_per_second_without_reading": videos / max(self._worked_s, 1e-9),
            "vitals/throughput/waiting_for_data": self._waited_s / max(whole_s, 1e-9),
        }
        memory = peak_memory(device)
        return scalars if memory is None else scalars | {"vitals/throughput/peak_memory_gib": memory / GIB}


def peak_memory(device: torch.device) -> int | None:
    """Peak memory in bytes, of the GPU or resident; None if unknown."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if sys.platform == "win32":
        return None
    import resource

    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return largest if sys.platform == "darwin" else largest * 1024  # macOS counts bytes, Linux KiB
