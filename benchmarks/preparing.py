"""Time to prepare a folder: `cvr prepare` beside the field's ffmpeg command, on the same number of cores.

Every run starts from nothing and writes all videos: ours from the start of `cvr` to its end, with checks and
manifest; ffmpeg's as one process for each video, as many at a time as there are workers. Repetitions of all
rows are interleaved, so that a slow moment of the machine hits all alike; the table gives medians with
quartiles. The last column is the time in units of the first row's.

    python benchmarks/preparing.py FOLDER... [--repetitions 5] [--workers 2] [--output report.md]
"""

from __future__ import annotations

import argparse
import functools
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from importlib.metadata import version
from pathlib import Path

from cvr_lightning.tools.prepare.tree import read_tree

PICTURE = ["-an", "-vf", "scale=340:256,setsar=1:1", "-q:v", "1", "-c:v", "mpeg4"]
ONE_THREAD = ["-threads", "1"]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--output", type=Path, help="also append the report to this file")
    options = parser.parse_args()
    if shutil.which("ffmpeg") is None:
        parser.error("there is no ffmpeg to compare with")
    report = "\n".join(
        [heading()] + [table(folder, options.workers, options.repetitions) for folder in options.folders]
    )
    print(report)
    if options.output:
        with options.output.open("a", encoding="utf-8") as file:
            file.write(report + "\n")


def table(folder: Path, workers: int, repetitions: int) -> str:
    """One row for each way to prepare a folder."""
    videos = len(read_tree(folder).videos)
    rows: dict[str, Callable[[Path], None]] = {
        f"cvr prepare, {workers} workers": functools.partial(ours, folder, workers),
        f"ffmpeg, {workers} at a time, 1 thread each": functools.partial(theirs, folder, workers, ONE_THREAD),
        f"ffmpeg, {workers} at a time, its own threads": functools.partial(theirs, folder, workers, []),
        "ffmpeg, one after the other, its own threads": functools.partial(theirs, folder, 1, []),
    }
    seconds, sizes = interleave(rows, repetitions)
    base = statistics.median(next(iter(seconds.values())))
    lines = [f"\n{folder.name}: {videos} videos\n", "| | s | quartiles | videos/s | MB | x ours |"]
    lines.append("|---|---|---|---|---|---|")
    for name, times in seconds.items():
        low, middle, high = statistics.quantiles(times, n=4, method="inclusive")
        cells = [name, f"{middle:.2f}", f"{low:.2f} - {high:.2f}", f"{videos / middle:.1f}"]
        cells += [f"{sizes[name] / 1e6:.1f}", f"{middle / base:.2f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def interleave(
    rows: dict[str, Callable[[Path], None]], repetitions: int
) -> tuple[dict[str, list[float]], dict[str, int]]:
    """Seconds of each repetition of each row, after one that is not counted, and bytes written."""
    seconds: dict[str, list[float]] = {name: [] for name in rows}
    sizes = {}
    for repetition in range(repetitions + 1):
        for name, run in rows.items():
            with tempfile.TemporaryDirectory() as folder:
                start = time.perf_counter()
                run(Path(folder) / "out")
                if repetition:
                    seconds[name].append(time.perf_counter() - start)
                sizes[name] = sum(path.stat().st_size for path in Path(folder).rglob("*.mp4"))
    return seconds, sizes


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


def heading() -> str:
    ffmpeg = subprocess.run(["ffmpeg", "-version"], capture_output=True, text=True, check=True).stdout
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    cpu = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "")
    machine = f"{cpu or platform.processor()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    versions = f"av {version('av')}, {' '.join(ffmpeg.split()[:3])}"
    return f"\n## Preparing a folder\n\n{date.today()}, {machine}, {versions}. 340x256, GOP 12, quantiser 2."


if __name__ == "__main__":
    main()
