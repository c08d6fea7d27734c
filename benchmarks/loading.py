"""Clips a second that reach the training, with the packet indexes of the videos kept and without.

Whole epochs of the training part, two reading processes, page cache warm; repetitions are interleaved, after
one that is not counted. Beside them, the same reads alone, in threads and in processes, and the share of an
epoch that the training of preset `tiny` waits for data.

    python benchmarks/loading.py FOLDER [--repetitions 5] [--output report.md]

FOLDER is laid out as for `Folder`: one folder a class, split or not. Nothing is written to it.
"""

from __future__ import annotations

import argparse
import logging
import statistics
import tempfile
import warnings
from collections.abc import Callable
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from pathlib import Path

from lightning import Trainer
from lightning.pytorch.profilers import SimpleProfiler
from machine import heading
from reading import interleave

from cvr_lightning.datamodules import Folder
from cvr_lightning.datamodules.dataset import VideoDataset
from cvr_lightning.datamodules.loader import VideoLoader
from cvr_lightning.datamodules.sampling import Draw
from cvr_lightning.module import RecognitionModule

SEGMENTS, PFRAMES, BATCH, WORKERS = 8, 3, 8, 2
READERS = (1, 2)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--output", type=Path, help="also append the report to this file")
    options = parser.parse_args()
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")
    with tempfile.TemporaryDirectory() as folder:
        report = measure(options.folder, Path(folder), options.repetitions)
    print(report)
    if options.output:
        with options.output.open("a", encoding="utf-8") as file:
            file.write(report + "\n")


def measure(root: Path, index_dir: Path, repetitions: int) -> str:
    """The report."""
    kept, without = datamodule(root, index_dir), datamodule(root, None)
    kept.prepare_data()
    rows: dict[str, Callable[[], object]] = {
        f"{WORKERS} workers, indexes kept": whole_epoch(kept.train_dataloader()),
        f"{WORKERS} workers, without": whole_epoch(without.train_dataloader()),
    }
    for kind, pool in (("threads", ThreadPoolExecutor), ("processes", ProcessPoolExecutor)):
        for readers in READERS:
            rows[f"reading alone, {readers} {kind}"] = reading_alone(kept, partial(pool, readers))
    videos = len(kept.videos["train"])
    protocol = f"{SEGMENTS} segments x {PFRAMES} P-frames, batches of {BATCH}; {videos} videos."
    lines = [
        heading("Loading clips to train on", ("torch", "lightning", "av", "numpy", "numba"), protocol),
        "\n| | clips/s | quartiles |\n|---|---|---|",
    ]
    for name, seconds in interleave(rows, repetitions).items():
        high, middle, low = (videos / value for value in statistics.quantiles(seconds, n=4))
        lines.append(f"| {name} | {middle:.1f} | {low:.1f} - {high:.1f} |")
    for name, data in (("indexes kept", kept), ("without", without)):
        lines.append(f"| training waits, {name} | {waiting(data):.0%} of an epoch | |")
    return "\n".join(lines)


def datamodule(root: Path, index_dir: Path | None) -> Folder:
    return Folder(
        root,
        batch_size=BATCH,
        num_workers=WORKERS,
        segments=SEGMENTS,
        pframes=PFRAMES,
        index_dir=index_dir,
        on_error="skip",
    )


def whole_epoch(loader: VideoLoader) -> Callable[[], object]:
    """One pass; the workers stay for the next."""
    return lambda: sum(len(batch) for batch in loader)


def reading_alone(data: Folder, pool: Callable[[], Executor]) -> Callable[[], object]:
    """The same clips read and dropped: no batch is made and none is sent."""
    loader = data.train_dataloader()

    def run() -> object:
        with pool() as executor:
            return sum(executor.map(partial(label_of, loader.dataset), loader.sampler, chunksize=16))

    return run


def label_of(dataset: VideoDataset, draw: Draw) -> int:
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
