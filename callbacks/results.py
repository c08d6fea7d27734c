"""results.json and scores.npz: metrics, costs and provenance of a test."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from lightning import LightningModule, Trainer
from lightning.pytorch import Callback

from cvr_lightning.callbacks.throughput import synchronized_clock
from cvr_lightning.clip import CompressedClip
from cvr_lightning.datamodules import CompressedVideoDataModule
from cvr_lightning.energy.counting import count_parameters
from cvr_lightning.energy.per_video import NOT_COUNTED
from cvr_lightning.evaluation.provenance import versions
from cvr_lightning.evaluation.results import FILE_NAME as RESULTS
from cvr_lightning.evaluation.results import runs_table, write_results
from cvr_lightning.evaluation.score_file import FILE_NAME as SCORES
from cvr_lightning.evaluation.score_file import ScoreFile
from cvr_lightning.evaluation.video_table import VideoTable
from cvr_lightning.files.printable import shown
from cvr_lightning.training.module import RecognitionModule


@runtime_checkable
class ResultSource(Protocol):
    """A callback that adds to results.json, such as :class:`EnergyMonitor`."""

    def test_results(self, trainer: Trainer, pl_module: RecognitionModule) -> dict[str, Any]:
        """Values for the results of the last test, called in the first process."""


class Results(Callback):
    """Writes ``results.json`` and ``scores.npz`` into the run directory after a test; prints the results.

    Accuracies are over readable videos (``top1``, ``top5``) and over all with unreadable ones counted as
    wrong (``top1_all``, ``top5_all``); ``unreadable`` lists those. ``subset_videos`` is the number of videos
    in the subset, which is larger than those tested in a limited test. ``missing`` counts annotated videos
    that were not found, which are in no accuracy. ``clips_per_video`` is the mean number of scored views,
    less than the protocol's ``clips`` if videos are too short.

    Throughput excludes the first batch (start of workers, warm-up of kernels), unless it is the only one.
    ``with_reading`` is the wall-clock time of the test loop, ``model_only`` the time of the model's step with
    the device synchronized. Operations, spikes and energies come from :class:`EnergyMonitor` if present: each
    :class:`ResultSource` among the callbacks adds its values.
    """

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Reset for a new test."""
        self._clips = 0
        self._model_s = 0.0
        self._loop_start = synchronized_clock(pl_module.device)
        self._loop_end = self._loop_start

    def on_test_batch_start(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        batch: CompressedClip,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Start the clock of the model."""
        self._batch_start = synchronized_clock(pl_module.device)

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
        now = synchronized_clock(pl_module.device)
        self._clips += len(batch)
        self._model_s += now - self._batch_start
        self._loop_end = now
        if batch_idx == 0 and trainer.num_test_batches[0] > 1:
            self._clips, self._model_s, self._loop_start = 0, 0.0, now

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the files and print the table."""
        assert isinstance(pl_module, RecognitionModule)
        rates = self._clips_per_second(trainer, pl_module)
        if trainer.is_global_zero:
            self._write(trainer, pl_module, rates)

    def _clips_per_second(self, trainer: Trainer, pl_module: RecognitionModule) -> tuple[float, float]:
        """With reading, and of the model alone; sums over the processes."""
        loop_s = self._loop_end - self._loop_start
        rates = torch.tensor([self._clips / max(seconds, 1e-9) for seconds in (loop_s, self._model_s)])
        with_reading, model_only = trainer.strategy.reduce(
            rates.to(pl_module.device), reduce_op="sum"
        ).tolist()
        return with_reading, model_only

    def _write(self, trainer: Trainer, pl_module: RecognitionModule, rates: tuple[float, float]) -> None:
        data, table = trainer.datamodule, pl_module.table  # type: ignore[attr-defined]
        assert isinstance(data, CompressedVideoDataModule)
        assert table is not None
        views = float(table.views.mean())
        names = data.names["test"]
        results = {
            **_accuracy(table),
            "clips_per_video": views,
            "subset_videos": len(names),
            "missing": data.missing_counts["test"],
            "unreadable": sorted(names[video] for video in table.unreadable),
            "protocol": {**data.protocol, "averaging": table.averaging},
            "videos_per_second": {"with_reading": rates[0] / views, "model_only": rates[1] / views},
            "parameters": count_parameters(pl_module.recognizer),
            **NOT_COUNTED,
            **_of_others(trainer, pl_module),
            "checkpoint": str(trainer.ckpt_path) if trainer.ckpt_path else None,
            "config": pl_module.run_config,
            "versions": versions(),
        }
        directory = Path(trainer.default_root_dir)
        score_file(table, names, data.class_names).write(directory / SCORES)
        write_results(directory / RESULTS, results)
        table_text = runs_table([str(directory)], [results]).render("table")
        print("", table_text, shown(f"Written to {directory / RESULTS} and {SCORES}"), sep="\n")


def _of_others(trainer: Trainer, pl_module: RecognitionModule) -> dict[str, Any]:
    callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
    sources = [callback for callback in callbacks if isinstance(callback, ResultSource)]
    return {
        key: value for source in sources for key, value in source.test_results(trainer, pl_module).items()
    }


def score_file(table: VideoTable, names: Sequence[str], class_names: Sequence[str]) -> ScoreFile:
    """The table with names instead of indices."""
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
