"""What is measured and when, with a counter that the test controls."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from cvr_lightning.callbacks import EnergyMonitor, energy
from cvr_lightning.energy.table import energy_table
from cvr_lightning.errors import RunError


class FakeCounter:
    """Counts what the test spends."""

    name = "RAPL package-0"

    def __init__(self) -> None:
        self.joules = 0.0

    def read(self) -> float:
        return self.joules


class Loop:
    """What the trainer does, as far as the callback can see."""

    def __init__(self, counter: FakeCounter | None, monkeypatch: pytest.MonkeyPatch, **options: Any) -> None:
        counters = [counter] if counter else []
        monkeypatch.setattr(energy, "open_counters", lambda *_: (counters, ["NVML: none"]))
        self.logged: dict[str, list[float]] = {}
        logger = SimpleNamespace(log_metrics=self._log)
        self.trainer: Any = SimpleNamespace(
            global_step=0,
            log_every_n_steps=1,
            world_size=1,
            local_rank=0,
            loggers=[logger],
            state=SimpleNamespace(fn="fit"),
            sanity_checking=False,
            num_test_batches=[3],
            strategy=SimpleNamespace(root_device=torch.device("cpu")),
        )
        self.module: Any = SimpleNamespace(device=torch.device("cpu"))
        self.monitor = EnergyMonitor(**options)
        self.monitor.setup(self.trainer, self.module, "fit")
        # Theoretical counts need a model; these tests are about the meter.
        monkeypatch.setattr(self.monitor, "_count", lambda *_: None)

    def results(self, protocol_clips: int, views: int) -> dict[str, Any]:
        self.trainer.datamodule = SimpleNamespace(protocol={"clips": protocol_clips})
        self.module.table = SimpleNamespace(views=np.full(2, views))
        return self.monitor.test_results(self.trainer, self.module)

    def _log(self, metrics: dict[str, float], step: int) -> None:
        for name, value in metrics.items():
            self.logged.setdefault(name, []).append(value)


def train(loop: Loop, counter: FakeCounter | None, joules: float = 6.0) -> None:
    """An epoch of two batches of 3 videos, with a validation in between that spends 100 J."""

    def spend(amount: float) -> None:
        if counter:
            counter.joules += amount

    monitor, arguments = loop.monitor, (loop.trainer, loop.module)
    spend(1000)
    monitor.on_train_epoch_start(*arguments)
    for batch in range(2):
        spend(joules / 2)
        monitor.on_train_batch_end(*arguments, None, [None] * 3, batch)
        if batch == 0:
            monitor.on_validation_start(*arguments)
            spend(100)
            monitor.on_validation_end(*arguments)
    monitor.on_train_epoch_end(*arguments)


def test_training_is_measured_without_validation(monkeypatch: pytest.MonkeyPatch) -> None:
    counter = FakeCounter()
    loop = Loop(counter, monkeypatch)
    train(loop, counter, joules=6)
    train(loop, counter, joules=18)
    assert loop.logged == {
        "vitals/energy/measured_train_j_per_epoch": [6, 18],
        "vitals/energy/measured_train_j_per_video": [1, 3],
    }
    results = loop.monitor.training_results()
    assert results == {"measured_j": 24, "measured_j_per_video": 2, "videos": 12, "epochs": 2}


def test_a_resumed_run_adds_to_the_measured_energy(monkeypatch: pytest.MonkeyPatch) -> None:
    counter = FakeCounter()
    first = Loop(counter, monkeypatch)
    train(first, counter, joules=6)
    resumed = Loop(counter, monkeypatch)
    resumed.monitor.load_state_dict(first.monitor.state_dict())
    train(resumed, counter, joules=18)
    assert resumed.monitor.training_results()["measured_j"] == 24


def test_without_a_counter_nothing_is_logged_and_the_result_is_null(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = Loop(None, monkeypatch)
    train(loop, None)
    assert loop.logged == {}
    assert loop.monitor.training_results() == {
        "measured_j": None,
        "measured_j_per_video": None,
        "videos": 6,
        "epochs": 1,
    }
    results = loop.monitor.cost_results(clips=1)["energy_j_per_video"]
    assert results["measured"] is None
    assert results["measured_includes"] == "no counter: NVML: none"


def run_test(loop: Loop, counter: FakeCounter, seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three batches of 2 views; the first, which is left out, spends 50 J, the others 4 J each."""
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr("cvr_lightning.energy.counters.time.perf_counter", lambda: clock.now)
    monitor, arguments = loop.monitor, (loop.trainer, loop.module)
    monitor.on_test_start(*arguments)
    for batch in range(3):
        counter.joules += 50 if batch == 0 else 4
        clock.now += seconds / 2
        monitor.on_test_batch_end(*arguments, None, [None] * 2, batch)
    monitor.on_test_epoch_end(*arguments)


def test_a_test_is_measured_per_video_without_its_first_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    counter = FakeCounter()
    loop = Loop(counter, monkeypatch)
    run_test(loop, counter, seconds=10, monkeypatch=monkeypatch)
    results = loop.results(protocol_clips=5, views=3)["energy_j_per_video"]
    assert results["measured"] == 3 * 8 / 4  # 8 J for 4 views, three of which are a video
    assert results["measured_includes"].startswith("RAPL package-0: total consumption of these devices")


def test_a_test_too_short_for_a_counter_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    counter = FakeCounter()
    loop = Loop(counter, monkeypatch, min_seconds=2.0)
    run_test(loop, counter, seconds=1, monkeypatch=monkeypatch)
    results = loop.monitor.cost_results(clips=1)["energy_j_per_video"]
    assert results["measured"] is None
    assert "less than 2 s" in results["measured_includes"]


def test_the_table_shows_what_was_measured_and_what_was_not(monkeypatch: pytest.MonkeyPatch) -> None:
    counter = FakeCounter()
    loop = Loop(counter, monkeypatch)
    run_test(loop, counter, seconds=10, monkeypatch=monkeypatch)
    lines = energy_table(loop.results(1, views=1), loop.monitor.training_results())
    rows = {line.strip().partition("  ")[0]: line.split()[-1] for line in lines.splitlines()}
    assert rows["per video, test"] == "2.000"
    assert rows["per video, training"] == "measured"  # not measured
    assert "theoretical: compute of the model; M. Horowitz" in lines
    assert "memory access: weights and neuron states at 24.96 pJ per byte" in lines
    assert lines.splitlines()[0].split()[-3:] == ["memory", "access,", "mJ"]
    assert "CO2" not in lines


def test_a_requested_counter_must_be_available() -> None:
    monitor = EnergyMonitor(counters=["nvml"])
    trainer: Any = SimpleNamespace(strategy=SimpleNamespace(root_device=torch.device("cpu")), local_rank=0)
    with pytest.raises(RunError, match="NVML: the run uses no NVIDIA GPU"):
        monitor.setup(trainer, SimpleNamespace(), "fit")  # type: ignore[arg-type]


def test_an_unknown_cost_table_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="45nm-int8"):
        EnergyMonitor(costs="7nm")  # type: ignore[arg-type]


def test_co2_is_measured_joules_times_the_given_factor(monkeypatch: pytest.MonkeyPatch) -> None:
    counter = FakeCounter()
    loop = Loop(counter, monkeypatch, co2_g_per_kwh=400.0)
    train(loop, counter, joules=3.6e6)
    results = loop.monitor.training_results()
    assert results["co2_g"] == pytest.approx(400)
    lines = energy_table(loop.results(1, views=1), results)
    (line,) = (line for line in lines.splitlines() if "CO2" in line)
    assert line.split() == ["training,", "CO2", "400.000", "g", "at", "400", "g/kWh"]


def test_without_a_counter_there_is_no_co2(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = Loop(None, monkeypatch, co2_g_per_kwh=400.0)
    train(loop, None)
    assert "co2_g" not in loop.monitor.training_results()
    with pytest.raises(ValueError, match="co2_g_per_kwh=-1"):
        EnergyMonitor(co2_g_per_kwh=-1)
