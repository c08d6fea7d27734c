"""How many videos a second training reads and learns from, how long it waits for them, and its memory."""

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

GIB = 2**30


def synchronised_clock(device: torch.device) -> float:
    """Seconds of a steady clock, once the device has done all that it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


class Throughput(Callback):
    """Takes the time of training, from one log step to the next.

    Logged on the trainer's log steps (``log_every_n_steps``):

    - ``vitals/throughput/videos_per_second``: with reading, all processes together.
    - ``vitals/throughput/videos_per_second_without_reading``: the same, had every batch been there at once.
    - ``vitals/throughput/waiting_for_data``: share of the time, 0 to 1, in which the loop waits for its next
      batch.
    - ``vitals/throughput/peak_memory_gib``: of the GPU as PyTorch allocates it, since the run began; without
      one, the largest resident size of the process (not on Windows).

    The device is synchronised at either end of a step. Left out are the first step of a run, in which
    workers start and kernels warm up, sanity checking, validation, and all that happens between two epochs.
    Each process takes its own time; the figures are the first one's, times the number of processes. Scalars
    go to any logger.
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
        """Begin with a step that is left out."""
        self._reset()
        self._is_first = True
        if pl_module.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(pl_module.device)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Wait for the epoch's first batch."""
        self._waiting_since = synchronised_clock(pl_module.device)

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: CompressedClip, batch_idx: int
    ) -> None:
        """The batch is there."""
        self._step = trainer.global_step
        self._start = synchronised_clock(pl_module.device)
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
        """The step is done; log, if the trainer does."""
        now = synchronised_clock(pl_module.device)
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
        """Wait from here on: validation was no waiting."""
        self._waiting_since = synchronised_clock(pl_module.device)

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
    """Bytes of memory that were in use at most: of the GPU, or resident; None where that is not told."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if sys.platform == "win32":
        return None
    import resource

    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return largest if sys.platform == "darwin" else largest * 1024  # macOS counts bytes, Linux KiB
