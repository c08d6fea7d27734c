"""Latency and memory of a stream: time per packet, and memory over an hour of video.

The clip is prepared (340x256, MPEG-4 Part 2, GOP 12) and its packets are looped. The time of a packet lasts
from its delivery to the request for the next: parsing, encoding, and for P-frames of a segment the
transformer over the whole window. One thread. Weights are random unless a checkpoint is given; they affect
neither time nor memory.

    python benchmarks/bench.py --sections streaming CLIP [--preset tiny] [--minutes 60] [--checkpoint CKPT]
"""

from __future__ import annotations

import itertools
import re
import statistics
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import torch
from page import arguments, publish
from reading import prepare

from cvr_lightning.codec.container.packets import PacketStream, StreamPacket, open_packets
from cvr_lightning.codec.mpeg4.vop_header import VOP_START
from cvr_lightning.datamodules.sampling import ClipSampling
from cvr_lightning.inference.streaming import StreamingRecognizer
from cvr_lightning.models import PRESETS, CompressedVideoRecognizer

RATE = 25  # frames a second of prepared clips
CLIP_SECONDS = 10
WARM_UP = 2 * RATE
MARKS_MIN = (1, 10, 20, 30, 40, 50, 60)


def main(given: list[str]) -> None:
    parser = arguments("streaming", __doc__)
    parser.add_argument("clip", type=Path)
    parser.add_argument("--preset", choices=PRESETS, default="tiny")
    parser.add_argument("--minutes", type=int, default=60, help="minutes of video to stream (default: 60)")
    parser.add_argument("--checkpoint", type=Path, help="a trained model instead of the preset's")
    options = parser.parse_args(given)
    torch.set_num_threads(1)
    recognizer = build(options.preset, options.checkpoint)
    with tempfile.TemporaryDirectory() as folder:
        packets = load(prepare(options.clip, Path(folder) / "clip.mp4", CLIP_SECONDS))
        meter = Meter(packets.packets, options.minutes * 60 * RATE, recognizer)
        for _ in recognizer(replace(packets, packets=meter)):
            pass
    protocol = meter.protocol(options.checkpoint or options.preset)
    publish(options.output, "Streaming", ("torch", "av", "numpy", "numba"), protocol, meter.tables())


def build(preset: str, checkpoint: Path | None) -> StreamingRecognizer:
    if checkpoint is not None:
        return StreamingRecognizer.from_checkpoint(checkpoint)
    sampling = ClipSampling(crop=PRESETS[preset].crop)  # type: ignore[index]
    torch.manual_seed(0)
    names = [str(number) for number in range(101)]
    model = CompressedVideoRecognizer(len(names), preset=preset)  # type: ignore[arg-type]
    return StreamingRecognizer(model, names, sampling)


def load(path: Path) -> PacketStream:
    with open_packets(path) as packets:
        return replace(packets, packets=list(packets.packets))


class Meter:
    """Hands out looped packets; takes the time of each, and the memory after so many minutes of video."""

    def __init__(self, packets: Iterable[StreamPacket], count: int, recognizer: StreamingRecognizer) -> None:
        self._packets = packets
        self._count = count
        self._recognizer = recognizer
        self._times: dict[str, list[float]] = {"I-frame": [], "P-frame, label": [], "P-frame between": []}
        self._memory: dict[int, float] = {}

    def __iter__(self) -> Iterator[StreamPacket]:
        since_iframe = 0
        for number, packet in enumerate(itertools.islice(itertools.cycle(self._packets), self._count)):
            kind = packet.data[packet.data.find(VOP_START) + len(VOP_START)] >> 6
            since_iframe = 0 if kind == 0 else since_iframe + 1
            start = time.perf_counter()
            yield packet
            elapsed = time.perf_counter() - start
            if number >= WARM_UP:
                self._times[self._row(since_iframe)].append(elapsed)
            minutes, rest = divmod(number + 1, 60 * RATE)
            if not rest and minutes in MARKS_MIN:
                self._memory[minutes] = resident_mib()

    def _row(self, since_iframe: int) -> str:
        if not since_iframe:
            return "I-frame"
        step = (since_iframe - 1) % self._recognizer.stride
        return "P-frame, label" if step < self._recognizer.sampling.pframes else "P-frame between"

    def protocol(self, model: object) -> str:
        sampling, stride = self._recognizer.sampling, self._recognizer.stride
        return (
            f"Model {model}, {self._recognizer.segments} segments x {sampling.pframes} P-frames, stride "
            f"{stride}, crop {sampling.crop}, one thread; {self._count:,} packets."
        )

    def tables(self) -> list[str]:
        lines = ["| packet | median ms | 95th percentile ms | packets |", "|---|---|---|---|"]
        for name, seconds in self._times.items():
            middle, high = statistics.median(seconds), statistics.quantiles(seconds, n=20)[-1]
            lines.append(f"| {name} | {1e3 * middle:.2f} | {1e3 * high:.2f} | {len(seconds)} |")
        mean = sum(map(sum, self._times.values())) / sum(map(len, self._times.values()))
        lines.append(f"| mean of all | {1e3 * mean:.2f}, {1 / mean / RATE:.1f} x real time | | |")
        lines += ["", "| minutes of video | resident MiB |", "|---|---|"]
        return [*lines, *(f"| {minutes} | {mib:.1f} |" for minutes, mib in self._memory.items())]


def resident_mib() -> float:
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) / 1024  # type: ignore[index]
