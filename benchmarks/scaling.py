"""Training videos per second with one and several processes, and the scaling efficiency.

Each process trains the preset on MotionShapes with the same batch size, so the clips per step grow with the
number of processes. On a CPU each process has one thread; more processes than cores are not meaningful. The
first steps are discarded. Efficiency is the rate of N processes divided by N times the rate of one.

    python benchmarks/bench.py --sections scaling [--processes 1 2] [--accelerator cpu] [--preset tiny]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from typing import Any

import torch
from lightning import LightningModule, Trainer, seed_everything
from lightning.pytorch import Callback
from page import arguments, publish

from cvr_lightning.datamodules import MotionShapes
from cvr_lightning.training.module import RecognitionModule

WARM_UP = 5
SCENES = {"train_scenes": 20, "val_scenes": 1, "test_scenes": 1}


def main(given: list[str]) -> None:
    parser = arguments("scaling", __doc__)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--accelerator", choices=("cpu", "gpu"), default="cpu")
    parser.add_argument("--precision", default="32-true")
    parser.add_argument("--preset", default="tiny")
    parser.add_argument("--batch-size", type=int, default=8, help="clips of one process")
    parser.add_argument("--workers", type=int, default=0, help="reading processes of each (default: 0)")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--root", default="data/scaling_shapes", help="where the videos are written")
    options = parser.parse_args(given)
    if "LOCAL_RANK" in os.environ:  # one of the processes that the loop below started
        work(options)
        return
    MotionShapes(options.root, **SCENES).prepare_data()
    rates: dict[int, list[float]] = {count: [] for count in options.processes}
    for _ in range(options.repeats):
        for count, found in rates.items():
            found.append(measure(count))
    device = torch.cuda.get_device_name() if options.accelerator == "gpu" else "one thread each"
    protocol = (
        f"Preset {options.preset}, {options.precision}, {options.batch_size} clips per process and step, "
        f"{device}; medians of {options.repeats} interleaved runs of {options.steps} steps."
    )
    publish(options.output, "Scaling", ("torch", "lightning", "numba"), protocol, table(rates))


def measure(processes: int) -> float:
    """Clips per second over all processes, which are started for it."""
    launch = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}", "--"]
    done = subprocess.run([sys.executable, *launch, *sys.argv], stdout=subprocess.PIPE, text=True, check=True)
    return float(json.loads(done.stdout.splitlines()[-1])["clips_per_s"])


def work(options: argparse.Namespace) -> None:
    """Train as one of the processes; the first prints the rate."""
    if options.accelerator == "cpu":
        torch.set_num_threads(1)
    seed_everything(0, verbose=False)
    loading = {"batch_size": options.batch_size, "num_workers": options.workers}
    data = MotionShapes(options.root, **SCENES, **loading)
    module = RecognitionModule(data.class_names, data.residual_channels, preset=options.preset)
    clock = Clock()
    trainer = Trainer(
        accelerator=options.accelerator,
        devices=int(os.environ["LOCAL_WORLD_SIZE"]),
        strategy="ddp",
        precision=options.precision,
        max_steps=WARM_UP + options.steps,
        limit_val_batches=0,
        callbacks=[clock],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, data)
    if trainer.is_global_zero:
        clips = options.steps * options.batch_size * trainer.world_size
        print(json.dumps({"clips_per_s": clips / clock.seconds}))


class Clock(Callback):
    """Takes the time of the steps after the first."""

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if pl_module.device.type == "cuda":
            torch.cuda.synchronize()
        if trainer.global_step == WARM_UP:
            self.start = time.perf_counter()
        self.seconds = time.perf_counter() - getattr(self, "start", 0.0)


def table(rates: dict[int, list[float]]) -> list[str]:
    medians = {count: statistics.median(found) for count, found in rates.items()}
    one = medians[min(medians)] / min(medians)
    lines = ["| processes | videos/s | range | efficiency |", "|---|---|---|---|"]
    for count, rate in medians.items():
        low, high = min(rates[count]), max(rates[count])
        lines.append(
            f"| {count} | {rate:.1f} | {low:.1f} to {high:.1f} | {100 * rate / (count * one):.0f} % |"
        )
    return lines
