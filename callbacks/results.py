"""results.json and scores.npz: what a test found, what it cost, and how to repeat it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning import LightningModule, Trainer
from lightning.pytorch import Callback

from cvr_lightning.clip import CompressedClip
from cvr_lightning.datamodules import CompressedVideoDataModule
from cvr_lightning.energy import OperationCounter, cost_results
from cvr_lightning.module import RecognitionModule
from cvr_lightning.provenance import versions
from cvr_lightning.results import FILE_NAME as RESULTS
from cvr_lightning.results import results_table, write_results
from cvr_lightning.score_file import FILE_NAME as SCORES
from cvr_lightning.score_file import ScoreFile
from cvr_lightning.video_table import VideoTable


class Results(Callback):
    """Writes ``results.json`` and ``scores.npz`` into the run directory after a test; prints the results.

    Accuracies are given over the videos that can be read (``top1``, ``top5``) and over all, the unreadable
    ones counted as wrong (``top1_all``, ``top5_all``); ``unreadable`` names those. ``missing`` counts the
    videos that the part's annotations list and that are not there: no accuracy knows of them.
    ``clips_per_video`` is the mean number of views that were scored, below the protocol's ``clips`` where
    videos are too short for it.

    Throughput leaves out the first batch, in which workers start and kernels warm up, unless it is the only
    one. ``with_reading`` is the wall clock of the test loop, ``model_only`` the time inside the model's step
    with the device synchronised. Operations and spikes are counted on the first batch that can be read. All
    are per video, all of its views together. Energy: theoretical is compute alone at 45 nm and 32 bits,
    decoding not included; measured is null, for no counter is read.
    """

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forget the last test."""
        assert isinstance(pl_module, RecognitionModule)
        self._counter = OperationCounter(pl_module.recognizer, strict=False)
        self._counted_clips = 0
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
        """Count the operations of one batch; start the clock of the model."""
        if not self._counted_clips and len(batch):
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
        """Stop the clock."""
        now = _synchronised_clock(pl_module)
        self._clips += len(batch)
        self._model_s += now - self._batch_start
        self._loop_end = now
        if not self._counted_clips and len(batch):
            self._counter.__exit__(None, None, None)
            self._counted_clips = len(batch)
        if batch_idx == 0 and trainer.num_test_batches[0] > 1:
            self._clips, self._model_s, self._loop_start = 0, 0.0, now

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the files and print the table."""
        assert isinstance(pl_module, RecognitionModule)
        data = trainer.datamodule  # type: ignore[attr-defined]
        assert isinstance(data, CompressedVideoDataModule)
        rates = torch.tensor(
            [
                self._clips / max(self._loop_end - self._loop_start, 1e-9),
                self._clips / max(self._model_s, 1e-9),
            ]
        )
        rates = trainer.strategy.reduce(rates.to(pl_module.device), reduce_op="sum")
        if not trainer.is_global_zero:
            return
        table = pl_module.table
        assert table is not None
        views = float(table.views.mean())
        names = data.names["test"]
        results = {
            **_accuracy(table),
            "clips_per_video": views,
            "missing": data.missing_counts["test"],
            "unreadable": sorted(names[video] for video in table.unreadable),
            "protocol": {**data.protocol, "averaging": table.averaging},
            "videos_per_second": {
                "with_reading": float(rates[0]) / views,
                "model_only": float(rates[1]) / views,
            },
            **cost_results(self._counter.report(max(self._counted_clips, 1)), views),
            "checkpoint": str(trainer.ckpt_path) if trainer.ckpt_path else None,
            "config": pl_module.run_config,
            "versions": versions(),
        }
        directory = Path(trainer.default_root_dir)
        score_file(table, names, data.class_names).write(directory / SCORES)
        write_results(directory / RESULTS, results)
        print("", results_table([results]), f"Written to {directory / RESULTS} and {SCORES}", sep="\n")


def score_file(table: VideoTable, names: Sequence[str], class_names: Sequence[str]) -> ScoreFile:
    """The table with the names that its indices stand for."""
    return ScoreFile(
        video=np.array([names[video] for video in table.video], np.str_),
        label=table.label,
        views=table.views,
        logits=table.logits,
        probabilities=table.probabilities,
        class_names=np.array(class_names, np.str_),
        unreadable=np.array([names[video] for video in table.unreadable], np.str_),
    )


def _accuracy(table: VideoTable) -> dict[str, Any]:
    return {
        "top1": table.top(1),
        "top5": table.top(5),
        "top1_all": table.top(1, of_all=True),
        "top5_all": table.top(5, of_all=True),
        "videos": len(table),
    }


def _synchronised_clock(module: LightningModule) -> float:
    if module.device.type == "cuda":
        torch.cuda.synchronize(module.device)
    return time.perf_counter()
