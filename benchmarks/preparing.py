"""Time to prepare a folder: `cvr prepare` compared with the usual ffmpeg command on the same number of cores.

Every run starts from scratch and writes all videos: ours from the start of `cvr` to its end, with checks and
manifest; ffmpeg as one process per video, with as many processes as workers. Repetitions are interleaved.

    python benchmarks/bench.py --sections preparing FOLDER... [--repetitions 5] [--workers 2] [--output PAGE]
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from measured import Measured, tables
from page import arguments, publish
from reading import interleave

from cvr_lightning.tools.prepare.tree import read_tree

PICTURE = ["-an", "-vf", "scale=340:256,setsar=1:1", "-q:v", "1", "-c:v", "mpeg4"]
ONE_THREAD = ["-threads", "1"]
OURS = "cvr prepare"


def main(given: list[str]) -> None:
    parser = arguments("preparing", __doc__)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    options = parser.parse_args(given)
    if shutil.which("ffmpeg") is None:
        parser.error("there is no ffmpeg to compare with")
    rows = [
        row for folder in options.folders for row in measure(folder, options.workers, options.repetitions)
    ]
    ffmpeg = subprocess.run(["ffmpeg", "-version"], capture_output=True, text=True, check=True).stdout
    protocol = f"{' '.join(ffmpeg.split()[:3])}. 340x256, GOP 12, quantizer 2."
    publish(options.output, "Preparing a folder", ("av",), protocol, [tables(rows, reference=OURS)])


def measure(folder: Path, workers: int, repetitions: int) -> list[Measured]:
    """Seconds and megabytes of each way to prepare a folder."""
    videos = len(read_tree(folder).videos)
    group = f"{folder.name}: {videos} videos"
    ways: dict[str, Callable[[Path], None]] = {
        OURS: functools.partial(ours, folder, workers),
        f"ffmpeg, {workers} at a time, 1 thread each": functools.partial(theirs, folder, workers, ONE_THREAD),
        f"ffmpeg, {workers} at a time, default threads": functools.partial(theirs, folder, workers, []),
        "ffmpeg, one after the other, default threads": functools.partial(theirs, folder, 1, []),
    }
    sizes_mb: dict[str, float] = {}

    def run(name: str) -> None:
        with tempfile.TemporaryDirectory() as target:
            ways[name](Path(target) / "out")
            sizes_mb[name] = sum(path.stat().st_size for path in Path(target).rglob("*.mp4")) / 1e6

    seconds = interleave({name: functools.partial(run, name) for name in ways}, repetitions)
    return [
        *(Measured(name, "s", tuple(found), group) for name, found in seconds.items()),
        *(Measured(name, "MB", (size,), group) for name, size in sizes_mb.items()),
    ]


def ours(source: Path, workers: int, target: Path) -> None:
    command = [sys.executable, "-m", "cvr_lightning", "prepare", str(source), str(target)]
    subprocess.run([*command, "--workers", str(workers)], capture_output=True)


def theirs(source: Path, processes: int, threads: list[str], target: Path) -> None:
    def encode(name: str) -> None:
        out = (target / name).with_suffix(".mp4")
        out.parent.mkdir(parents=True, exist_ok=True)
        command = ["ffmpeg", "-v", "error", "-nostdin", *threads, "-i", str(source / name), *PICTURE]
        # Filters have threads of their own.
        command += [*threads, *(["-filter_threads", "1"] if threads else []), str(out)]
        subprocess.run(command, capture_output=True)

    with ThreadPoolExecutor(processes) as pool:
        list(pool.map(encode, read_tree(source).videos))
