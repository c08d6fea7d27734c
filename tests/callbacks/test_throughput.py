"""Every metric that is logged, under a clock that the test controls."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from cvr_lightning.callbacks import Throughput, throughput

GIB = 2**30


class Clock:
    """Stands still until it is told to go on."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Recorder:
    """A logger that keeps what it is given."""

    def __init__(self) -> None:
        self.calls: list[tuple[int, dict[str, float]]] = []

    def log_metrics(self, metrics: dict[str, float], step: int) -> None:
        self.calls.append((step, dict(metrics)))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    clock = Clock()
    monkeypatch.setattr(throughput.time, "perf_counter", clock)
    monkeypatch.setattr(throughput, "peak_memory", lambda device: 3 * GIB)
    return clock


class Loop:
    """What the trainer does, as far as the callback can see."""

    def __init__(self, clock: Clock, world_size: int = 1) -> None:
        self.clock = clock
        self.logger = Recorder()
        self.trainer: Any = SimpleNamespace(
            global_step=0, log_every_n_steps=2, world_size=world_size, loggers=[self.logger]
        )
        self.module: Any = SimpleNamespace(device=torch.device("cpu"))
        self.callback = Throughput()
        self.callback.on_train_start(self.trainer, self.module)

    def epoch(self) -> None:
        self.callback.on_train_epoch_start(self.trainer, self.module)

    def step(self, wait: float, work: float, videos: int = 4, accumulating: bool = False) -> None:
        batch: Any = [None] * videos
        self.clock.now += wait
        self.callback.on_train_batch_start(self.trainer, self.module, batch, 0)
        self.clock.now += work
        self.trainer.global_step += not accumulating
        self.callback.on_train_batch_end(self.trainer, self.module, None, batch, 0)

    def validation(self, seconds: float) -> None:
        self.clock.now += seconds
        self.callback.on_validation_end(self.trainer, self.module)


def figures(videos: float, whole: float, worked: float) -> dict[str, float]:
    return {
        "vitals/throughput/videos_per_second": videos / whole,
        "vitals/throughput/videos_per_second_without_reading": videos / worked,
        "vitals/throughput/waiting_for_data": 1 - worked / whole,
        "vitals/throughput/peak_memory_gib": 3.0,
    }


def test_logged_rates_and_waiting_times_follow_the_clock(clock: Clock) -> None:
    loop = Loop(clock)
    loop.epoch()
    loop.step(wait=50, work=9)  # the first is left out
    loop.step(wait=1, work=3)  # step 1: logged
    loop.step(wait=1, work=1)
    loop.step(wait=2, work=4, videos=2)  # step 3: logged
    assert [step for step, _ in loop.logger.calls] == [1, 3]
    assert loop.logger.calls[0][1] == pytest.approx(figures(videos=4, whole=4, worked=3))
    assert loop.logger.calls[1][1] == pytest.approx(figures(videos=6, whole=8, worked=5))


def test_validation_and_the_time_between_epochs_are_left_out(clock: Clock) -> None:
    loop = Loop(clock)
    loop.epoch()
    loop.step(wait=5, work=5)
    loop.step(wait=1, work=1)
    loop.validation(1000)
    loop.step(wait=1, work=3)
    clock.now += 1000  # checkpoints, pictures
    loop.epoch()
    loop.step(wait=2, work=2)
    assert loop.logger.calls[-1][1] == pytest.approx(figures(videos=8, whole=8, worked=5))


def test_all_processes_count_and_accumulation_is_one_step(clock: Clock) -> None:
    loop = Loop(clock, world_size=2)
    loop.epoch()
    loop.step(wait=5, work=5)
    loop.step(wait=0, work=1, accumulating=True)
    loop.step(wait=0, work=1)
    assert loop.logger.calls == [(1, pytest.approx(figures(videos=16, whole=2, worked=2)))]


def test_memory_without_a_gpu_is_that_of_the_process() -> None:
    resident = throughput.peak_memory(torch.device("cpu"))
    assert resident is not None
    assert 0.01 < resident / GIB < 64
