"""results.json: what a test found, what it cost, and how to repeat it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch
import torch.distributed
from lightning import LightningModule, Trainer
from lightning.pytorch import Callback

from cvr_lightning.clip import CompressedClip
from cvr_lightning.datamodules import CompressedVideoDataModule
from cvr_lightning.energy import OperationCounter, cost_results
from cvr_lightning.module import RecognitionModule
from cvr_lightning.provenance import versions
from cvr_lightning.results import FILE_NAME, results_table, write_results


class Results(Callback):
    """Writes ``results.json`` into the run directory after a test, and prints the same as a table.

    Throughput leaves out the first batch, in which workers start and kernels warm up, unless it is the only
    one. ``with_reading`` is the wall clock of the test loop, ``model_only`` the time inside the model's step
    with the device synchronised. Operations and spikes are counted on the first batch. Energy: theoretical is
    compute alone at 45 nm and 32 bits, decoding not included; measured is null, for no counter is read.
    """

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forget the last test."""
        assert isinstance(pl_module, RecognitionModule)
        self._counter = OperationCounter(pl_module.recognizer, strict=False)
        self._counted_clips = 0
        self._unreadable: set[str] = set()
        self._clips = 0
        self._model_s = 0.0
        self._loop_start = time.perf_counter()
        self._loop_end = self._loop_start

    def on_test_batch_start(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        batch: CompressedClip,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Count the operations of the first batch; start the clock of the model."""
        if batch_idx == 0:
            self._counter.__enter__()
        self._batch_start = _synchronised_clock(pl_module)

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: CompressedClip,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Stop the clock; note what could not be read."""
        now = _synchronised_clock(pl_module)
        self._unreadable.update(batch.unreadable)
        self._clips += len(batch)
        self._model_s += now - self._batch_start
        self._loop_end = now
        if batch_idx == 0:
            self._counter.__exit__(None, None, None)
            self._counted_clips = len(batch)
            if trainer.num_test_batches[0] > 1:
                self._clips, self._model_s, self._loop_start = 0, 0.0, now

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the file and print the table."""
        assert isinstance(pl_module, RecognitionModule)
        data = trainer.datamodule  # type: ignore[attr-defined]
        assert isinstance(data, CompressedVideoDataModule)
        views = data.sampling.views
        rates = torch.tensor(
            [
                self._clips / views / max(self._loop_end - self._loop_start, 1e-9),
                self._clips / views / max(self._model_s, 1e-9),
            ]
        )
        rates = trainer.strategy.reduce(rates.to(pl_module.device), reduce_op="sum")
        unreadable = _gather(self._unreadable)
        if not trainer.is_global_zero:
            return
        operations = self._counter.report(max(self._counted_clips, 1))
        results = {
            **_accuracy(pl_module),
            "unreadable": sorted(unreadable),
            "protocol": {**data.protocol, "averaging": "softmax"},
            "videos_per_second": {"with_reading": float(rates[0]), "model_only": float(rates[1])},
            **cost_results(operations, views),
            "checkpoint": str(trainer.ckpt_path) if trainer.ckpt_path else None,
            "config": pl_module.run_config,
            "versions": versions(),
        }
        path = Path(trainer.default_root_dir) / FILE_NAME
        write_results(path, results)
        print("", results_table([results]), f"Written to {path}", sep="\n")


def _accuracy(module: RecognitionModule) -> dict[str, Any]:
    assert module.table is not None
    return {"top1": module.table.top(1), "top5": module.table.top(5), "videos": len(module.table.video)}


def _synchronised_clock(module: LightningModule) -> float:
    if module.device.type == "cuda":
        torch.cuda.synchronize(module.device)
    return time.perf_counter()


def _gather(names: set[str]) -> set[str]:
    """The names of all processes."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return names
    gathered: list[set[str]] = [set()] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(gathered, names)
    return set().union(*gathered)
