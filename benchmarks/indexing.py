"""Startup time, memory and disk space of a data set of 500,000 videos; about five minutes on two cores.

Creates a data set of that size in a temporary folder from sixteen 10-second videos, with a hard link to one
of them for each name. Only indexing is replaced: each link gets the index of its video. Times are medians
over three fresh processes with a warm page cache, without imports. Private memory is what the kernel reports
as a worker's own (smaps_rollup) after reading clips in random order: the larger of two workers.

    python benchmarks/bench.py --sections indexing [--videos 500000] [--folder /tmp]
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from page import arguments, publish

CLASSES, SOURCES, SHOTS = 400, 16, 21
WORKERS, CLIPS, BATCH = 2, 480, 8
MANIFEST = "manifest.txt"
ROWS = {
    "setup": ("`setup()`: wall, CPU (s)", 3),
    "prepare": ("`prepare_data()` where nothing has changed: wall, CPU (s)", 3),
    "fork": ("private memory of a forked worker (MB)", 1),
    "spawn": ("private memory of a spawned worker (MB)", 1),
}
"""What each step measures, and in how many processes: memory hardly varies."""


def main(given: list[str]) -> None:
    parser = arguments("indexing", __doc__)
    parser.add_argument("--videos", type=int, default=500_000)
    parser.add_argument("--folder", help="where the temporary folder lies; it must allow hard links")
    parser.add_argument("--step", nargs=2, metavar=("STEP", "ROOT"), help=argparse.SUPPRESS)
    options = parser.parse_args(given)
    if options.step:
        print(*measure_step(options.step[0], Path(options.step[1])))
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        lines = measure(Path(folder), options.videos)
    protocol = f"Videos of {12 * SHOTS} frames; {WORKERS} workers, {CLIPS} clips."
    packages = ("torch", "lightning", "av", "numpy", "numba")
    publish(options.output, f"A data set of {options.videos:,} videos", packages, protocol, lines)


def measure(folder: Path, videos: int) -> list[str]:
    """The lines of the table."""
    small, large = folder / "small", folder / "large"
    sources, indexing_ms = write_sources(folder)
    make_dataset(small, sources, SOURCES)
    make_dataset(large, sources, videos)
    lines = [f"| | {videos:,} videos | {SOURCES} videos |\n|---|---|---|"]
    for step, (name, repetitions) in ROWS.items():
        print(f"measuring: {name}", file=sys.stderr)
        cells = [in_fresh_processes(step, root, repetitions) for root in (large, small)]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    sizes = [sum(path.stat().st_size for path in (root / ".cvr_index").iterdir()) for root in (large, small)]
    lines += [
        f"| cache on the disk, MB | {sizes[0] / 1e6:.1f} | {sizes[1] / 1e6:.1f} |",
        f"| a video of it, bytes | {sizes[0] / videos:.0f} | {sizes[1] / SOURCES:.0f} |",
        f"\nTo index a video takes {indexing_ms:.1f} ms on one core.",
    ]
    return lines


def write_sources(folder: Path) -> tuple[dict[Path, Known], float]:
    """The videos that all names are links to, with their indexes; and the ms that it takes to index one."""
    from cvr_lightning.codec import CompressedVideoReader
    from cvr_lightning.datamodules.motion_scenes import CLASS_NAMES, draw_shot
    from cvr_lightning.datamodules.motion_video import write_video

    rng = np.random.default_rng(0)
    known: dict[Path, Known] = {}
    times_ms: list[float] = []
    for number, motion in zip(range(SOURCES), itertools.cycle(CLASS_NAMES), strict=False):
        source = folder / f"source_{number}.mp4"
        write_video(source, [draw_shot(rng) for _ in range(SHOTS)], motion)
        start = time.perf_counter()
        with CompressedVideoReader(source) as reader:
            known[source] = Known(reader.index.to_bytes())
        times_ms.append(1e3 * (time.perf_counter() - start))
    return known, statistics.median(times_ms)


def make_dataset(root: Path, sources: Mapping[Path, Known], videos: int) -> None:
    """Make links, manifest and cache."""
    from cvr_lightning.datamodules import index_cache

    for label in range(CLASSES):
        (root / f"class_{label:03d}").mkdir(parents=True)
    names = [f"class_{i % CLASSES:03d}/video_{i:07d}.mp4" for i in range(videos)]
    for name, source in zip(names, itertools.cycle(sources), strict=False):
        os.link(source, root / name)
    lines = (f"{name} {number % CLASSES}\n" for number, name in enumerate(names))
    (root / MANIFEST).write_text("".join(lines))
    indexes = {source.stat().st_ino: index for source, index in sources.items()}
    index_cache.build_index = lambda demuxer: indexes[os.stat(demuxer.path).st_ino]
    datamodule(root).prepare_data()


class Known:
    """Stands for an index whose bytes are known."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def to_bytes(self) -> bytes:
        return self.data


def datamodule(root: Path) -> Any:
    from cvr_lightning.datamodules import CompressedVideoDataModule
    from cvr_lightning.datamodules.dataset import VideoList

    class Manifest(CompressedVideoDataModule):
        """A list of names and labels, as many data sets come with."""

        def scan(self) -> Mapping[str, VideoList]:
            words = (self.root / MANIFEST).read_text().split()
            return {"train": VideoList(words[::2], [int(label) for label in words[1::2]])}

    return Manifest(root, [f"class_{label:03d}" for label in range(CLASSES)], batch_size=BATCH)


def in_fresh_processes(step: str, root: Path, repetitions: int) -> str:
    """The medians of what a step measures."""
    command = [sys.executable, sys.argv[0], "--sections", "indexing", "--step", step, str(root)]
    runs = [
        subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True) for _ in range(repetitions)
    ]
    columns = zip(*(run.stdout.split() for run in runs), strict=True)
    return ", ".join(f"{statistics.median(map(float, column)):.2f}" for column in columns)


def measure_step(step: str, root: Path) -> list[float]:
    data = datamodule(root)
    if step in ("fork", "spawn"):
        return [private_memory(data, step)]
    wall, cpu = time.perf_counter(), time.process_time()
    data.setup() if step == "setup" else data.prepare_data()
    return [time.perf_counter() - wall, time.process_time() - cpu]


def private_memory(data: Any, start_method: str) -> float:
    """Largest private memory of a worker in MB, after reading."""
    from torch.utils.data import DataLoader

    from cvr_lightning.datamodules.loader import collate_or_carry
    from cvr_lightning.datamodules.sampling import Draw

    dataset = data.train_dataloader().dataset
    videos = np.random.default_rng(0).integers(len(dataset), size=2 * CLIPS)
    batches = iter(
        DataLoader(
            dataset,
            batch_size=BATCH,
            sampler=[Draw(0, video, 0) for video in videos.tolist()],
            num_workers=WORKERS,
            multiprocessing_context=start_method,
            collate_fn=collate_or_carry,
        )
    )
    for _ in itertools.islice(batches, CLIPS // BATCH):  # half of them: at the end workers leave
        pass
    return max(private_bytes(process.pid) for process in multiprocessing.active_children()) / 1e6


def private_bytes(pid: int | None) -> int:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(1024 * int(line.split()[1]) for line in lines if line.startswith("Private"))
