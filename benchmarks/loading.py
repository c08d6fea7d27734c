"""Clips per second that reach the training, by number of workers, with and without cached packet indexes.

Whole epochs of the training subset with a warm page cache; repetitions are interleaved, after one that is
discarded. For comparison: reading without batching, in threads and processes; 16 RGB frames of the same
videos through other libraries, with as many processes; and the fraction of an epoch in which training of the
preset `tiny` waits for data.

    python benchmarks/bench.py --sections loading FOLDER [--workers 1 2] [--repetitions 5]

FOLDER has the layout of `Folder`: one folder per class, split or not. It is not written to.
"""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from lightning import Trainer
from lightning.pytorch.profilers import SimpleProfiler
from machine import installed
from measured import Measured, tables
from page import arguments, publish
from reading import interleave
from rgb_frames import FRAME_READERS

from cvr_lightning.datamodules import CompressedVideoDataModule, Folder
from cvr_lightning.datamodules.drawn_dataset import DrawnDataset
from cvr_lightning.datamodules.loader import VideoLoader
from cvr_lightning.datamodules.sampling import ClipSampling, Draw
from cvr_lightning.models import Preset
from cvr_lightning.training.module import RecognitionModule

SEGMENTS, PFRAMES, BATCH = 8, 3, 8
FRAMES = 16
PACKAGES = ("torch", "lightning", "av", "numpy", "numba", "torchcodec", "decord2")
PROTOCOL = f"Ours: {SEGMENTS} segments x {PFRAMES} P-frames, batches of {BATCH}; peers: {FRAMES} RGB frames."
OURS = "ours, read alone"
"""The row that the others are compared with."""


def main(given: list[str]) -> None:
    parser = arguments("loading", __doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2], help="reading processes")
    parser.add_argument("--repetitions", type=int, default=5)
    options = parser.parse_args(given)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")
    with tempfile.TemporaryDirectory() as folder:
        rows = measure(options.folder, Path(folder), options.workers, options.repetitions)
        rows += measure_waiting(options.folder, Path(folder), max(options.workers))
    publish(options.output, "Loading training clips", PACKAGES, PROTOCOL, [tables(rows, "workers", OURS)])


def measure(root: Path, index_dir: Path, workers: Sequence[int], repetitions: int) -> list[Measured]:
    """Clips per second for each number of workers."""
    rows: dict[tuple[str, str, int], Callable[[], object]] = {}
    with ExitStack() as stack:
        for count in workers:
            kept, without = datamodule(root, index_dir, count), datamodule(root, None, count)
            kept.prepare_data()
            rows["ours, batches, indexes kept", "processes", count] = whole_epoch(kept.train_dataloader())
            rows["ours, batches, no indexes", "processes", count] = whole_epoch(without.train_dataloader())
            threads = stack.enter_context(ThreadPoolExecutor(count))
            processes = stack.enter_context(ProcessPoolExecutor(count, get_context("spawn")))
            rows[OURS, "threads", count] = reading_alone(kept, threads)
            rows[OURS, "processes", count] = reading_alone(kept, processes)
            paths = [kept.root / name for name in kept.videos["train"].names]
            for name in filter(installed, FRAME_READERS):
                rows[name, "processes", count] = partial(read_frames, name, paths, processes)
        times = interleave(rows, repetitions)
    videos = len(kept.videos["train"])
    return [
        Measured(what, "clips/s", tuple(videos / s for s in times[what, group, at]), group, at)
        for what, group, at in sorted(rows, key=lambda row: row[1])
    ]


def measure_waiting(root: Path, index_dir: Path, workers: int) -> list[Measured]:
    """The fraction of an epoch in which training waits for data, with and without cached indexes."""
    kept, without = datamodule(root, index_dir, workers), datamodule(root, None, workers)
    kept.prepare_data()
    return [
        Measured(what, "%", (100 * waiting(data),), "training waits for data", workers)
        for what, data in (("indexes kept", kept), ("no indexes", without))
    ]


def datamodule(root: Path, index_dir: Path | None, workers: int, batch: int = BATCH) -> Folder:
    return Folder(
        root,
        batch_size=batch,
        num_workers=workers,
        sampling=ClipSampling(segments=SEGMENTS, pframes=PFRAMES),
        index_dir=index_dir,
        on_error="skip",
    )


def whole_epoch(loader: VideoLoader) -> Callable[[], object]:
    """One pass; workers are persistent."""
    return lambda: sum(len(batch) for batch in loader)


def reading_alone(data: Folder, pool: Executor) -> Callable[[], object]:
    """Read the same clips without batching or sending them."""
    loader = data.train_dataloader()
    read = partial(label_of, loader.dataset)
    return lambda: sum(pool.map(read, loader.sampler, chunksize=4))


def read_frames(name: str, paths: Sequence[Path], pool: Executor) -> int:
    return sum(pool.map(partial(count_frames, name), paths, chunksize=4))


def count_frames(name: str, path: Path) -> int:
    torch.set_num_threads(1)
    return len(FRAME_READERS[name](path, FRAMES))


def label_of(dataset: DrawnDataset, draw: Draw) -> int:
    return dataset[draw].label


def waiting(
    data: CompressedVideoDataModule, preset: Preset = "tiny", precision: Any = "32-true", epochs: int = 2
) -> float:
    """Fraction of the epochs after the first in which training waits for a batch."""
    profiler = SimpleProfiler()
    trainer = Trainer(
        precision=precision,
        max_epochs=epochs,
        profiler=profiler,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        limit_val_batches=0,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
    )
    trainer.fit(RecognitionModule(data.class_names, data.residual_channels, preset=preset), datamodule=data)
    durations = profiler.recorded_durations
    wait = next(times for action, times in durations.items() if action.endswith("train_dataloader_next"))
    batches = len(wait) // epochs
    return sum(wait[batches:]) / sum(durations["run_training_epoch"][1:])
