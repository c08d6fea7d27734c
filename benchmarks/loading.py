"""Clips a second that reach the training, by reading processes, with packet indexes kept and without.

Whole epochs of the training subset, page cache warm; repetitions are interleaved, after one that is not
counted. Beside them, the same reads alone, in threads and in processes, the peers' reads of 16 RGB frames of
the same videos in as many processes, and the share of an epoch that the training of preset `tiny` waits for
data.

    python benchmarks/loading.py FOLDER [--workers 1 2] [--repetitions 5] [--output report.md]

FOLDER is laid out as for `Folder`: one folder a class, split or not. Nothing is written to it.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import torch
from lightning import Trainer
from lightning.pytorch.profilers import SimpleProfiler
from machine import heading, installed
from measured import Measured, tables
from reading import interleave
from rgb_frames import FRAME_READERS

from cvr_lightning.datamodules import Folder
from cvr_lightning.datamodules.drawn_dataset import DrawnDataset
from cvr_lightning.datamodules.loader import VideoLoader
from cvr_lightning.datamodules.sampling import ClipSampling, Draw
from cvr_lightning.training.module import RecognitionModule

SEGMENTS, PFRAMES, BATCH = 8, 3, 8
FRAMES = 16
PACKAGES = ("torch", "lightning", "av", "numpy", "numba", "torchcodec", "decord2")
PROTOCOL = f"Ours: {SEGMENTS} segments x {PFRAMES} P-frames, batches of {BATCH}; peers: {FRAMES} RGB frames."
OURS = "ours, read alone"
"""The row that the others are compared with."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2], help="reading processes")
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--output", type=Path, help="also append the report to this file")
    options = parser.parse_args()
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")
    with tempfile.TemporaryDirectory() as folder:
        rows = measure(options.folder, Path(folder), options.workers, options.repetitions)
        rows += measure_waiting(options.folder, Path(folder), max(options.workers))
    report = "\n\n".join(
        [heading("Loading clips to train on", PACKAGES, PROTOCOL), tables(rows, "workers", OURS)]
    )
    print(report)
    if options.output:
        with options.output.open("a", encoding="utf-8") as file:
            file.write(report + "\n")


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
    """The share of an epoch in which training waits, with the indexes kept and without."""
    kept, without = datamodule(root, index_dir, workers), datamodule(root, None, workers)
    kept.prepare_data()
    return [
        Measured(what, "%", (100 * waiting(data),), "training waits for data", workers)
        for what, data in (("indexes kept", kept), ("no indexes", without))
    ]


def datamodule(root: Path, index_dir: Path | None, workers: int) -> Folder:
    return Folder(
        root,
        batch_size=BATCH,
        num_workers=workers,
        sampling=ClipSampling(segments=SEGMENTS, pframes=PFRAMES),
        index_dir=index_dir,
        on_error="skip",
    )


def whole_epoch(loader: VideoLoader) -> Callable[[], object]:
    """One pass; the workers stay for the next."""
    return lambda: sum(len(batch) for batch in loader)


def reading_alone(data: Folder, pool: Executor) -> Callable[[], object]:
    """The same clips read and dropped: no batch is made and none is sent."""
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


def waiting(data: Folder) -> float:
    """Share of the second epoch in which the training step has no batch to work on."""
    profiler = SimpleProfiler()
    trainer = Trainer(
        max_epochs=2,
        profiler=profiler,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        limit_val_batches=0,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
    )
    trainer.fit(RecognitionModule(data.class_names, data.residual_channels, preset="tiny"), datamodule=data)
    durations = profiler.recorded_durations
    wait = next(times for action, times in durations.items() if action.endswith("train_dataloader_next"))
    batches = len(wait) // 2
    return sum(wait[batches:]) / durations["run_training_epoch"][-1]


if __name__ == "__main__":
    main()
