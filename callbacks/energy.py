"""Energy of a run: theoretical from operation counts, measured from energy counters."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch import Callback
from lightning.pytorch.trainer.states import TrainerFn

from cvr_lightning.callbacks.log_steps import is_logged
from cvr_lightning.callbacks.loggers import log_scalars
from cvr_lightning.clip import CompressedClip
from cvr_lightning.datamodules import CompressedVideoDataModule
from cvr_lightning.energy.costs import CostTable, CostTableName, co2_grams, cost_table
from cvr_lightning.energy.counters import CounterName, EnergyMeter, gpu_uuid, open_counters
from cvr_lightning.energy.counting import OperationReport
from cvr_lightning.energy.per_video import cost_results, count_clips
from cvr_lightning.energy.table import energy_table
from cvr_lightning.models.devices import synchronize
from cvr_lightning.training.module import RecognitionModule

MEASURED_INCLUDES = (
    "total consumption of these devices during the loop, including reading, decoding, idle power and other "
    "processes"
)


class EnergyMonitor(Callback):
    """Counts operations at the neurons' actual spike rates, and reads energy counters.

    Logs after every validation, per view of a video, at the spike rates of the first readable batch:

    - ``vitals/energy/theoretical_uj_per_view``: energy of the model's operations in microjoules, and
      ``vitals/energy_parts/<part>_uj_per_view`` of each component; these sum to it.
    - ``vitals/energy/dense_macs_1e6_per_view``, ``vitals/energy/effective_macs_1e6_per_view`` and
      ``vitals/energy/effective_acs_1e6_per_view``: millions of operations, see
      :mod:`cvr_lightning.energy.counting`.

    Logs after every training epoch if there is a counter, over all processes:

    - ``vitals/energy/measured_train_j_per_epoch`` and ``vitals/energy/measured_train_j_per_video``: joules
      without validation; a video counts each time it is trained on.

    ``results.json`` contains these energies of the test, and those of the training stored in the checkpoint;
    with ``prints_table``, ``fit`` and ``test`` print them. Without a counter, or if the test took less than
    ``min_seconds``, the result is "not measured" and null, never 0. Measured energy is that of whole devices:
    it includes reading, decoding, idle power and other processes.

    Args:
        costs: Energy per operation: the name of a table, or a custom ``{mac_pj, ac_pj, source}``,
            optionally with ``memory_pj_per_byte``.
        counters: Counters to read, of ``nvml``, ``rapl`` and ``zeus``; missing ones are an error. null uses
            NVML and RAPL if available.
        min_seconds: Time below which a counter's resolution is too coarse.
        prints_table: Print a table of energies at the end; ``--verbose`` of the command line.
        co2_g_per_kwh: Carbon intensity of your electricity; turns measured joules into grams of CO2.

    Raises:
        ValueError: The cost table is unknown, or a number is negative.
    """

    def __init__(
        self,
        costs: CostTableName | CostTable = "45nm-fp32",
        counters: Sequence[CounterName] | None = None,
        min_seconds: float = 2.0,
        prints_table: bool = False,
        co2_g_per_kwh: float | None = None,
    ) -> None:
        if co2_g_per_kwh is not None and not 0 <= co2_g_per_kwh < math.inf:
            raise ValueError(f"co2_g_per_kwh={co2_g_per_kwh} must be a non-negative number")
        self.costs = cost_table(costs)
        self.counter_names = counters
        self.min_seconds = min_seconds
        self.prints_table = prints_table
        self.co2_g_per_kwh = co2_g_per_kwh
        self.training = {"joules": 0.0, "seconds": 0.0, "videos": 0, "epochs": 0}
        self.report: OperationReport | None = None
        self._clips = 0
        self._measured: float | None = None  # joules per view
        self._is_short = False

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Open the counters.

        Raises:
            RunError: A requested counter is not available.
        """
        counters, self._missing = open_counters(
            self.counter_names, gpu_uuid(trainer.strategy.root_device), trainer.local_rank == 0
        )
        self._meter = EnergyMeter(counters)

    # Theoretical: one batch of each validation or test.

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start counting; validation does not count as training."""
        self._pause_training(trainer)
        self.report = None

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: CompressedClip,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Count the operations of one batch."""
        self._count(trainer, pl_module, batch)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the theoretical energy."""
        if trainer.state.fn == TrainerFn.FITTING:  # trainer.training is still false here
            self._meter.start()
        if trainer.sanity_checking or self.report is None:
            return
        log_scalars(trainer, theoretical_scalars(self.report), trainer.global_step)

    def _count(self, trainer: Trainer, pl_module: LightningModule, batch: CompressedClip) -> None:
        if self.report is None and len(batch):
            assert isinstance(pl_module, RecognitionModule)
            with trainer.precision_plugin.forward_context():
                self.report = count_clips(pl_module.recognizer, [batch], self.costs, strict=False)

    # Measured: training, epoch by epoch.

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the meter."""
        self._clips = 0
        self._meter = EnergyMeter(self._meter.counters)
        self._meter.start()

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: CompressedClip,
        batch_idx: int,
    ) -> None:
        """Count the videos."""
        self._clips += len(batch)
        if is_logged(trainer, batch_idx + 1):
            self._meter.poll()

    def _pause_training(self, trainer: Trainer) -> None:
        if not trainer.sanity_checking:
            self._meter.stop()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the epoch's energy."""
        self._meter.stop()
        joules, videos = _over_processes(trainer, self._meter.total, self._clips)
        self.training["epochs"] += 1
        self.training["videos"] += videos
        if joules is None:
            return
        self.training["joules"] += joules
        self.training["seconds"] += self._meter.seconds
        scalars = {
            "measured_train_j_per_epoch": joules,
            "measured_train_j_per_video": joules / max(videos, 1),
        }
        log_scalars(
            trainer, {f"vitals/energy/{name}": value for name, value in scalars.items()}, trainer.global_step
        )

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print the table."""
        if trainer.is_global_zero and self.report is not None and self.prints_table:
            print(f"\n{energy_table(self.cost_results(clips=1), self.training_results())}")

    # Measured: a test.

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Reset for a new test."""
        self.report = None
        self._measured = None
        self._start_test()

    def _start_test(self) -> None:
        self._clips = 0
        self._meter = EnergyMeter(self._meter.counters)
        self._meter.start()

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: CompressedClip,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Count one batch; measured energy excludes the first of several, like throughput."""
        self._clips += len(batch)
        if self.report is None:
            self._meter.stop()
            self._count(trainer, pl_module, batch)
            self._meter.start()
        if batch_idx == 0 and trainer.num_test_batches[0] > 1:
            synchronize(pl_module.device)
            self._start_test()
        elif is_logged(trainer, batch_idx + 1):
            self._meter.poll()

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop the meter and sum over processes."""
        synchronize(pl_module.device)
        self._meter.stop()
        self._is_short = self._meter.seconds < self.min_seconds
        own = None if self._is_short else self._meter.total
        joules, clips = _over_processes(trainer, own, self._clips)
        self._measured = None if joules is None else joules / max(clips, 1)

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print the table."""
        if trainer.is_global_zero and self.report is not None and self.prints_table:
            assert isinstance(pl_module, RecognitionModule)
            print(f"\n{energy_table(self.test_results(trainer, pl_module), self.training_results())}")

    # For results.json.

    def test_results(self, trainer: Trainer, pl_module: RecognitionModule) -> dict[str, Any]:
        """Operations and energies per video of the last test, and the energy of training."""
        assert pl_module.table is not None
        data: CompressedVideoDataModule = trainer.datamodule  # type: ignore[attr-defined]
        views = float(pl_module.table.views.mean())
        measured = None if self._measured is None else self._measured * views
        return {
            **self.cost_results(data.protocol["clips"], measured),
            "training_energy": self.training_results(),
        }

    def cost_results(self, clips: int, measured: float | None = None) -> dict[str, Any]:
        """Operations and energies per video.

        Args:
            clips: Clips per video in the protocol.
            measured: Joules per video from the counters.
        """
        report = OperationReport((), 1, self.costs) if self.report is None else self.report
        return cost_results(report, clips, measured, self._includes())

    def training_results(self) -> dict[str, Any]:
        """Measured energy of training; null without a counter."""
        joules, videos = self.training["joules"], self.training["videos"]
        measured = self.training["seconds"] > 0
        co2 = {}
        if measured and self.co2_g_per_kwh is not None:
            co2 = {"co2_g": co2_grams(joules, self.co2_g_per_kwh), "co2_g_per_kwh": self.co2_g_per_kwh}
        return {
            **co2,
            "measured_j": joules if measured else None,
            "measured_j_per_video": joules / videos if measured and videos else None,
            "videos": videos,
            "epochs": self.training["epochs"],
        }

    def _includes(self) -> str:
        if not self._meter.counters:
            return f"no counter: {'; '.join(self._missing) or 'none was requested'}"
        if self._is_short:
            return f"nothing: the loop took less than {self.min_seconds:g} s"
        return f"{', '.join(counter.name for counter in self._meter.counters)}: {MEASURED_INCLUDES}"

    def state_dict(self) -> dict[str, Any]:
        """Energy of training so far."""
        return dict(self.training)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the energy of training."""
        self.training = dict(state_dict)


def theoretical_scalars(report: OperationReport) -> dict[str, float]:
    """Scalars of a validation, per view."""
    parts = report.energy_by_part()
    return {
        "vitals/energy/theoretical_uj_per_view": 1e6 * report.energy_j,
        "vitals/energy/dense_macs_1e6_per_view": 1e3 * report.gmac,
        "vitals/energy/effective_macs_1e6_per_view": 1e3 * report.effective_gmac,
        "vitals/energy/effective_acs_1e6_per_view": 1e3 * report.effective_gac,
        **{f"vitals/energy_parts/{part}_uj_per_view": 1e6 * joules for part, joules in parts.items()},
    }


def _over_processes(trainer: Trainer, joules: float | None, clips: int) -> tuple[float | None, int]:
    """Joules and clips summed over processes; None without counters."""
    own = torch.tensor([joules or 0.0, float(joules is not None), clips], dtype=torch.float64)
    if trainer.world_size > 1:
        own = own.float() if trainer.strategy.root_device.type == "mps" else own
        own = trainer.strategy.reduce(own.to(trainer.strategy.root_device), reduce_op="sum").cpu()
    return (float(own[0]) if own[1] else None), int(own[2])
