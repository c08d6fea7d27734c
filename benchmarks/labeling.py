"""From the original file to its label: throughput beside another network, latency, and two processes.

Preset small, random weights, the files as they are (a HEVC, a VP9 and a prepared copy of the first for the
latency). X3D-S reads 13 frames of one view with each installed reader. Repetitions of all rows are
interleaved; processor time of all threads, so other programs on the machine matter little.

    python benchmarks/bench.py --sections labeling CLIP... [--repetitions 5]
"""

from __future__ import annotations

import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import av
import torch
from inference import build, label_all, label_frames
from machine import installed
from page import arguments, publish
from peers import X3D
from reading import interleave, prepare
from rgb_frames import FRAME_READERS

from cvr_lightning.datamodules.clips import read_views
from cvr_lightning.inference.classify import Classifier

BATCH = 8
VIDEOS = 16
PACKAGES = ("torch", "av", "numpy", "numba", "torchcodec", "decord2")
COPIES: dict[str, tuple[str, str, dict[str, str]]] = {
    "HEVC": ("libx265", "mp4", {"x265-params": "log-level=none"}),
    "VP9": ("libvpx-vp9", "webm", {"deadline": "realtime", "cpu-used": "8"}),
}


def main(given: list[str]) -> None:
    parser = arguments("labeling", __doc__)
    parser.add_argument("clips", type=Path, nargs="+", metavar="CLIP")
    parser.add_argument("--repetitions", type=int, default=5)
    options = parser.parse_args(given)
    torch.set_num_threads(1)
    lines = [*throughput(options.clips, options.repetitions), ""]
    with tempfile.TemporaryDirectory() as folder:
        lines += [*latency(options.clips, Path(folder), options.repetitions), ""]
    lines += processes(options.clips, options.repetitions)
    names = ", ".join(clip.name for clip in options.clips)
    protocol = f"Processor time, medians of {options.repetitions}, one thread of the model; {names}."
    publish(options.output, "From file to label", PACKAGES, protocol, lines)


def in_form(classifier: Classifier) -> Classifier:
    """The same, preparing in memory what no parser reads."""
    return Classifier(
        classifier.recognizer, classifier.class_names, replace(classifier.sampling, form="auto")
    )


def throughput(clips: Sequence[Path], repetitions: int) -> Iterator[str]:
    """Videos labeled in a second of processor time."""
    paths = [clips[number % len(clips)] for number in range(VIDEOS)]
    calls: dict[str, tuple[int, Callable[[], object]]] = {
        "small": (VIDEOS, partial(label_all, build("small"), paths, BATCH, 1))
    }
    x3d = X3D().eval()
    for package, read in FRAME_READERS.items():
        if installed(package):
            calls[f"X3D-S, {package}"] = VIDEOS, partial(label_frames, x3d, paths, read, 1)
    times = interleave({name: call for name, (_, call) in calls.items()}, repetitions, time.process_time)
    ours = None
    yield "| file to label | videos per second of one core | range | small is faster by |"
    yield "|---|---|---|---|"
    for name, seconds in times.items():
        rates = sorted(calls[name][0] / each for each in seconds)
        middle = statistics.median(rates)
        ours = ours or middle
        yield f"| {name} | {middle:.2f} | {rates[0]:.2f} - {rates[-1]:.2f} | {ours / middle:.1f} |"


def latency(clips: Sequence[Path], folder: Path, repetitions: int) -> Iterator[str]:
    """Milliseconds of one call of a classifier, and of its reading."""
    classifier = in_form(build("small"))
    files = {f"{clip.name}, as it is": clip for clip in clips}
    files["prepared MPEG-4"] = prepare(clips[0], folder / "prepared.mp4")
    for name, (codec, suffix, options) in COPIES.items():
        if codec in av.codecs_available:
            files[name] = _encoded(clips[0], folder / f"{name}.{suffix}", codec, options)
    classifier.warm_up()
    calls: dict[tuple[str, str], Callable[[], object]] = {}
    for name, path in files.items():
        calls[name, "read"] = partial(read_views, path, classifier.sampling)
        calls[name, "call"] = partial(classifier, str(path))
    times = interleave(calls, repetitions, time.process_time)
    yield "| one call of `Classifier` | ms | of these reading |"
    yield "|---|---|---|"
    for name in files:
        whole, reading = (1e3 * statistics.median(times[name, part]) for part in ("call", "read"))
        yield f"| {name} | {whole:.1f} | {reading:.1f} |"


def _encoded(source: Path, path: Path, codec: str, options: dict[str, str]) -> Path:
    with av.open(str(source)) as decoded, av.open(str(path), "w") as encoded:
        stream = encoded.add_stream(codec, rate=30, options=options)
        stream.width, stream.height, stream.pix_fmt = 340, 256, "yuv420p"
        for frame in decoded.decode(video=0):
            scaled = frame.reformat(340, 256, "yuv420p")
            scaled.pts = None
            encoded.mux(stream.encode(scaled))
        encoded.mux(stream.encode(None))
    return path


def processes(clips: Sequence[Path], repetitions: int) -> Iterator[str]:
    """What a second process adds: the processor time of a video beside another process, and alone."""
    context = multiprocessing.get_context("spawn")
    paths = [clips[number % len(clips)] for number in range(VIDEOS)]
    barrier, results = context.Barrier(2), context.Queue()
    pair = [
        context.Process(target=_worker, args=(rank, paths, repetitions, barrier, results)) for rank in (0, 1)
    ]
    for process in pair:
        process.start()
    found = [results.get() for _ in pair]
    for process in pair:
        process.join()
    (alone,) = (alone for alone, _ in found if alone)
    beside = statistics.mean(together for _, together in found)
    yield "| processes | ms of processor time per video | videos/s of both, two free cores |"
    yield "|---|---|---|"
    yield f"| one | {1e3 * alone / VIDEOS:.1f} | {VIDEOS / alone:.1f} |"
    yield f"| two | {1e3 * beside / VIDEOS:.1f} | {2 * VIDEOS / beside:.1f}, {2 * alone / beside:.2f} x one |"


def _worker(rank: int, paths: Sequence[Path], repetitions: int, barrier, results) -> None:  # type: ignore[no-untyped-def]
    """Median processor time of the list, alone (process 0 only) and while the other process works too."""
    torch.set_num_threads(1)
    label = partial(label_all, build("small"), paths, BATCH, 1)
    label()
    alone, together = [], []
    for _ in range(repetitions):
        barrier.wait()
        if rank == 0:
            alone.append(_timed(label))
        barrier.wait()
        together.append(_timed(label))
    results.put((statistics.median(alone) if alone else None, statistics.median(together)))


def _timed(call: Callable[[], object]) -> float:
    start = time.process_time()
    call()
    return time.process_time() - start
