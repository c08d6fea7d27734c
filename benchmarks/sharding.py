"""Videos per second of a training loader: from files, from shards, and from shards behind a slow network.

The folder (in the layout of `Folder`) is packed first. Each repetition reads every training video once.
Repetitions are interleaved. The page cache is warm, so the disk is not measured. The network is a local
server that delays each answer, as an object store does.

    python benchmarks/bench.py --sections sharding FOLDER [--workers 2] [--delay-ms 20] [--repetitions 5]
"""

from __future__ import annotations

import functools
import http.server
import multiprocessing
import os
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import webdataset
from measured import Measured, tables
from page import arguments, publish
from reading import interleave
from torch.utils.data import DataLoader

from cvr_lightning.clip import Sample, collate
from cvr_lightning.codec import VideoBytes
from cvr_lightning.datamodules import Folder, Shards
from cvr_lightning.datamodules.clips import read_clip
from cvr_lightning.datamodules.sampling import ClipSampling
from cvr_lightning.tools.pack.writer import pack

SHARD_BYTES = 10**7  # as many shards as a large data set has for each worker


def main(given: list[str]) -> None:
    parser = arguments("sharding", __doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--delay-ms", type=float, default=20)
    parser.add_argument("--repetitions", type=int, default=5)
    options = parser.parse_args(given)
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
        videos = len(index.subsets["train"].names)
        rows = measure(loaders, videos, options.repetitions)
    protocol = f"{videos} videos, {options.workers} workers."
    publish(
        options.output, "Reading from shards", ("torch", "fsspec", "webdataset"), protocol, [tables(rows)]
    )


def stream(urls: list[str], workers: int) -> Iterable[Any]:
    """The same videos through webdataset."""
    dataset = webdataset.WebDataset(urls, shardshuffle=len(urls)).shuffle(100).map(read)
    return DataLoader(
        dataset, batch_size=8, num_workers=workers, collate_fn=collate, persistent_workers=workers > 0
    )


def read(sample: dict[str, Any]) -> Sample:
    clip = read_clip(VideoBytes(sample["__key__"], sample["mp4"]), ClipSampling())
    return Sample(int(sample["__key__"]), 0, -1, sample["__key__"], clip)


def measure(loaders: dict[str, Iterable[Any]], videos: int, repetitions: int) -> list[Measured]:
    """Videos per second of each loader."""

    def read_all(name: str) -> None:
        seen = sum(len(batch.label) for batch in loaders[name])
        assert seen == videos, f"{name}: {seen} of {videos} videos"

    seconds = interleave({name: functools.partial(read_all, name) for name in loaders}, repetitions)
    return [Measured(name, "videos/s", tuple(videos / s for s in found)) for name, found in seconds.items()]


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
