"""Videos a second through a training loader: from files, from shards, from shards behind a slow network.

The folder (classes as --data Folder has them) is packed first. Each repetition reads every training video
once, 8 windows of 3 P-frames at 340x256. Repetitions of all rows are interleaved; the table gives medians
with quartiles. The page cache is warm: what differs is the work, not the disk. The network is a server on
this machine that waits before each answer, as an object store does.

    python benchmarks/sharding.py FOLDER [--workers 2] [--delay-ms 20] [--repetitions 5] [--output report.md]
"""

from __future__ import annotations

import argparse
import functools
import http.server
import multiprocessing
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

import webdataset
from torch.utils.data import DataLoader

from cvr_lightning.clip import Sample, collate
from cvr_lightning.codec import VideoBytes
from cvr_lightning.datamodules import Folder, Shards
from cvr_lightning.datamodules.dataset import read_clip
from cvr_lightning.datamodules.sampling import ClipSampling
from cvr_lightning.tools.pack.writer import pack

SHARD_BYTES = 10**7  # as many shards as a large data set has for each worker


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--delay-ms", type=float, default=20)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--output", type=Path, help="also append the report to this file")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, served(Path(folder), options.delay_ms / 1e3) as url:
        data = Folder(options.folder)
        data.setup()
        index = pack(data, Path(folder), SHARD_BYTES)
        train = [str(path) for path in sorted(Path(folder).glob("train-*.tar"))]
        common: dict[str, Any] = {"num_workers": options.workers, "batch_size": 8}
        loaders: dict[str, Iterable[Any]] = {
            "files": Folder(options.folder, **common).train_dataloader(),
            "shards": Shards(folder, **common).train_dataloader(),
            f"shards, {options.delay_ms:g} ms away": Shards(url, **common).train_dataloader(),
            "shards, streamed by webdataset": stream(train, options.workers),
        }
        report = table(loaders, len(index.subsets["train"].names), options.workers, options.repetitions)
    print(report)
    if options.output:
        with options.output.open("a", encoding="utf-8") as file:
            file.write(report + "\n")


def stream(urls: list[str], workers: int) -> Iterable[Any]:
    """The same videos through webdataset."""
    dataset = webdataset.WebDataset(urls, shardshuffle=len(urls)).shuffle(100).map(read)
    return DataLoader(
        dataset, batch_size=8, num_workers=workers, collate_fn=collate, persistent_workers=workers > 0
    )


def read(sample: dict[str, Any]) -> Sample:
    clip = read_clip(VideoBytes(sample["__key__"], sample["mp4"]), ClipSampling())
    return Sample(int(sample["__key__"]), 0, -1, sample["__key__"], clip)


def table(loaders: dict[str, Iterable[Any]], videos: int, workers: int, repetitions: int) -> str:
    """Videos a second of each loader; the first epoch, which starts its workers, is not counted."""
    rates: dict[str, list[float]] = {name: [] for name in loaders}
    for repetition in range(repetitions + 1):
        for name, loader in loaders.items():
            start = time.perf_counter()
            seen = sum(len(batch.label) for batch in loader)
            assert seen == videos, f"{name}: {seen} of {videos} videos"
            if repetition:
                rates[name].append(videos / (time.perf_counter() - start))
    lines = [heading(videos, workers), "", "| | videos/s | quartiles |", "|---|---|---|"]
    for name, values in rates.items():
        low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
        lines.append(f"| {name} | {middle:.1f} | {low:.1f} - {high:.1f} |")
    return "\n".join(lines)


class DelayedRanges(http.server.SimpleHTTPRequestHandler):
    """Answers requests for ranges after a while."""

    protocol_version = "HTTP/1.1"
    delay = 0.0

    def do_GET(self) -> None:
        time.sleep(self.delay)
        path, span = self.translate_path(self.path), self.headers.get("Range")
        first, last = 0, os.path.getsize(path) - 1
        if span:
            first, last = (int(end) for end in span.removeprefix("bytes=").split("-"))
        with open(path, "rb") as file:
            file.seek(first)
            body = file.read(last + 1 - first)
        self.send_response(206 if span else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


@contextmanager
def served(folder: Path, delay: float) -> Iterator[str]:
    """A server in a process of its own."""
    ports = multiprocessing.SimpleQueue()
    process = multiprocessing.Process(target=serve, args=(folder, delay, ports), daemon=True)
    process.start()
    yield f"http://127.0.0.1:{ports.get()}"
    process.terminate()


def serve(folder: Path, delay: float, ports: Any) -> None:
    DelayedRanges.delay = delay
    handler = functools.partial(DelayedRanges, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        ports.put(server.server_port)
        server.serve_forever()


def heading(videos: int, workers: int) -> str:
    lines: Iterable[str] = ()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    cpu = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "")
    machine = f"{cpu or platform.processor()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "fsspec", "webdataset"))
    size = f"{videos} videos, {workers} workers"
    return f"\n## Reading from shards\n\n{date.today()}, {machine}, {versions}. {size}."


if __name__ == "__main__":
    main()
