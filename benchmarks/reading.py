"""Time to read one video: the input of our models compared with other libraries, in one process.

Each clip is first re-encoded as is usual (340x256, MPEG-4 Part 2, GOP 12, no B-frames, quantizer 2); with
``--original`` it is also read as it is. Repetitions of all readers are interleaved in changing order; tables
give medians with quartiles and the ratio to our indexed read. One thread, warm page cache; every reader is
opened anew in each repetition. A second table gives the time per P-frame: ours with residual, FFmpeg's with
vectors only. ``--clock cpu`` measures processor time, for a busy machine.

    python benchmarks/bench.py --sections reading,lengths [--original] CLIP...
"""

from __future__ import annotations

import itertools
import random
import re
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import TypeVar

import av
from machine import installed
from measured import Measured
from rgb_frames import with_decord, with_torchcodec

from cvr_lightning.codec import MODALITIES, CompressedVideoReader, PacketIndex, Segment

SEGMENTS, PFRAMES, SIZE, FRAMES = 8, 3, (224, 224), 16
LENGTHS_S = (10, 60, 600)
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
OURS = "ours, indexed"
"""The row that the others are compared with."""
GIVE_CLIPS = (OURS, "PyAV, every", "torchcodec", "decord")
"""Prefixes of the rows that produce model input; the others are parts of that."""
PROTOCOL = (
    f"Ours: {SEGMENTS} segments x {PFRAMES} P-frames, I-frames {SIZE[0]}x{SIZE[1]} RGB. "
    "Medians of {repetitions}, {clock} time."
)

Clock = Callable[[], float]
Key = TypeVar("Key", bound=Hashable)


def use_one_thread() -> None:
    if installed("torchcodec"):
        import torch

        torch.set_num_threads(1)  # its idle threads would keep spinning during the next reader


def measure(
    clips: Sequence[Path], folder: Path, repetitions: int, clock: str, original: bool = False
) -> list[Measured]:
    """Milliseconds of all readers for each clip, and microseconds of one P-frame.

    Args:
        clips: Clips to prepare and read.
        folder: Folder for the prepared clips.
        repetitions: Repetitions of each reader.
        clock: A key of :data:`CLOCKS`.
        original: Also read the clips as they are.
    """
    rows = []
    for clip in clips:
        prepared = prepare(clip, folder / f"{clip.stem}.mp4")
        if original:
            rows += measure_file(clip, f"{clip.name} as it is", repetitions, CLOCKS[clock])
        rows += measure_file(prepared, clip.name, repetitions, CLOCKS[clock])
        with CompressedVideoReader(prepared) as reader:
            index = reader.index
        rows += measure_pframes(prepared, index, repetitions, CLOCKS[clock], f"one P-frame of {clip.name}")
    return rows


def measure_file(path: Path, name: str, repetitions: int, clock: Clock) -> list[Measured]:
    """Milliseconds of all readers for one file.

    Raises:
        UnsupportedStreamError: The file has no readable motion or residuals.
    """
    with CompressedVideoReader(path) as reader:
        reader.require(MODALITIES)
        index, info = reader.index, reader.info
        group = f"{name}: {info.num_frames} frames, {info.width}x{info.height}, parser {reader.parser}"
    times = interleave(readers(path, index), repetitions, clock)
    return [Measured(what, "ms", tuple(1e3 * s for s in times[what]), group) for what in times]


def measure_pframes(
    path: Path, index: PacketIndex, repetitions: int, clock: Clock, group: str
) -> list[Measured]:
    """Time per P-frame, as the mean over the video."""
    count = index.frame_types.count("P")
    rows = {
        "ours: vectors, modes, 16 + 2 x 4 coefficients": lambda: read_all_pframes(path, index, clock),
        "FFmpeg: decoded, vectors exported": lambda: decode_all_pframes(path, clock),
    }
    seconds: dict[str, list[float]] = {name: [] for name in rows}
    for _ in range(repetitions):
        for name, read in rows.items():
            seconds[name].append(read())
    return [
        Measured(name, "microseconds", tuple(1e6 * s / count for s in seconds[name]), group) for name in rows
    ]


def read_all_pframes(path: Path, index: PacketIndex, clock: Clock) -> float:
    """Seconds to read all P-frames at their original size."""
    types = index.frame_types
    bounds = [*(number for number, kind in enumerate(types) if kind == "I"), len(types)]
    gops = [Segment(a, tuple(range(a + 1, b))) for a, b in itertools.pairwise(bounds)]
    with CompressedVideoReader(path, index=index) as reader:
        start = clock()
        for gop in gops:
            reader.read([gop], modalities=("motion", "residual"))
        return clock() - start


def decode_all_pframes(path: Path, clock: Clock) -> float:
    """Seconds that FFmpeg spends on the packets of P-frames."""
    seconds = 0.0
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        stream.codec_context.options = {"flags2": "+export_mvs"}
        for packet in container.demux(stream):
            start = clock()
            for frame in packet.decode():
                if "MOTION_VECTORS" in frame.side_data:
                    frame.side_data["MOTION_VECTORS"].to_ndarray()
            if not packet.is_keyframe:
                seconds += clock() - start
    return seconds


def readers(path: Path, index: PacketIndex) -> dict[str, Callable[[], object]]:
    """The calls to time, by the name of the row."""
    rows: dict[str, Callable[[], object]] = {
        OURS: lambda: read_ours(path, index),
        "ours, first open": lambda: read_ours(path, None),
        "ours, P-frames only, indexed": lambda: read_ours(path, index, ("motion", "residual")),
        "PyAV, every frame to RGB": lambda: read_pyav(path),
        "PyAV, export_mvs, no RGB": lambda: export_vectors(path),
        "PyAV, demux only": lambda: demux(path),
    }
    if installed("torchcodec"):
        rows[f"torchcodec, {FRAMES} frames, exact"] = lambda: with_torchcodec(path, FRAMES)
    if installed("decord2"):
        rows[f"decord, {FRAMES} frames"] = lambda: with_decord(path, FRAMES)
    return rows


def read_ours(path: Path, index: PacketIndex | None, modalities: tuple[str, ...] | None = None) -> object:
    with CompressedVideoReader(path, index=index) as reader:
        chosen = reader.segments(SEGMENTS, PFRAMES)
        if modalities is None:
            return reader.read(chosen, pframes=PFRAMES, size=SIZE)
        return reader.read(chosen, pframes=PFRAMES, size=SIZE, modalities=modalities)  # type: ignore[arg-type]


def decode(path: Path, options: dict[str, str] | None = None) -> Iterator[av.VideoFrame]:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        stream.codec_context.options = options or {}
        yield from container.decode(stream)


def demux(path: Path) -> int:
    with av.open(str(path)) as container:
        return sum(packet.size for packet in container.demux(video=0))


def read_pyav(path: Path) -> object:
    """Convert every frame to RGB; keep as many as other readers return."""
    return deque((frame.to_ndarray(format="rgb24") for frame in decode(path)), maxlen=FRAMES)


def export_vectors(path: Path) -> object:
    frames = decode(path, {"flags2": "+export_mvs"})
    fields = (f.side_data["MOTION_VECTORS"].to_ndarray() for f in frames if "MOTION_VECTORS" in f.side_data)
    return deque(fields, maxlen=FRAMES)


def interleave(
    rows: Mapping[Key, Callable[[], object]], repetitions: int, clock: Clock = time.perf_counter
) -> dict[Key, list[float]]:
    """Seconds of each repetition of each row, after one that is not counted."""
    seconds: dict[Key, list[float]] = {name: [] for name in rows}
    order = list(rows)
    shuffle = random.Random(0).shuffle
    for repetition in range(repetitions + 1):
        for name in order:
            start = clock()
            rows[name]()
            if repetition:
                seconds[name].append(clock() - start)
        shuffle(order)
    return seconds


def measure_lengths(
    clip: Path, folder: Path, repetitions: int, clock: str, lengths: Sequence[int] = LENGTHS_S
) -> list[Measured]:
    """Time and memory of all readers for videos of different length."""
    timed: dict[tuple[str, int], Callable[[], object]] = {}
    memory = []
    for seconds in lengths:
        path = prepare(clip, folder / f"{seconds}.mp4", seconds)
        with CompressedVideoReader(path) as reader:
            index = reader.index
        cached = folder / f"{seconds}.index"
        cached.write_bytes(index.to_bytes())
        for name, read in readers(path, index).items():
            timed[name, seconds] = read
            if name.startswith(GIVE_CLIPS) and seconds in (lengths[0], lengths[-1]):
                added = peak_memory(name, path, cached)
                memory.append(Measured(name, "MiB added", (added,), "a fresh process", seconds))
    times = interleave(timed, repetitions, CLOCKS[clock])
    return [
        *(Measured(name, "ms", tuple(1e3 * s for s in times[name, at]), at=at) for name, at in times),
        *memory,
    ]


def peak_memory(name: str, path: Path, cached: Path) -> float:
    """Increase of the peak memory in MiB by the first read in a new process; ours uses the cached index."""
    return in_fresh_process("reading", "report_memory", name, str(path), str(cached))


def in_fresh_process(module: str, function: str, *arguments: str) -> float:
    """Run a function of a benchmark in a new process and return the number that it prints."""
    program = (
        f"import sys; sys.path.insert(0, sys.argv[1]); import {module}; {module}.{function}(*sys.argv[2:])"
    )
    command = [sys.executable, "-c", program, str(Path(__file__).parent), *arguments]
    return float(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)


def report_memory(name: str, path: str, cached: str) -> None:
    index = PacketIndex.from_bytes(Path(cached).read_bytes())
    print(memory_added(readers(Path(path), index)[name]))


def memory_added(run: Callable[[], object]) -> float:
    """Increase of the peak resident memory in MiB, without imports, which are already loaded.

    Not ru_maxrss, which on Linux includes the parent's memory at the time of the fork.
    """
    Path("/proc/self/clear_refs").write_text("5")  # reset the peak
    before = resident_mib("VmRSS")
    run()
    return resident_mib("VmHWM") - before


def resident_mib(field: str) -> float:
    status = Path("/proc/self/status").read_text()
    return int(re.search(rf"{field}:\s+(\d+) kB", status)[1]) / 1024  # type: ignore[index]


def prepare(source: Path, target: Path, seconds: int | None = None) -> Path:
    """Re-encode to 340x256, GOP 12, no B-frames, quantizer 2; looped or cut to a length if one is given."""
    with av.open(str(target), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 340, 256, "yuv420p"
        context = stream.codec_context
        context.gop_size, context.max_b_frames, context.qmin, context.qmax = 12, 0, 2, 2
        frames: Iterator[av.VideoFrame] = decode(source)
        if seconds is not None:
            loop = itertools.chain.from_iterable(decode(source) for _ in itertools.count())
            frames = itertools.islice(loop, 25 * seconds)
        for number, frame in enumerate(frames):
            scaled = frame.reformat(width=340, height=256, format="yuv420p")
            scaled.pts, scaled.time_base = number, Fraction(1, 25)
            scaled.pict_type = 0  # NONE: the encoder chooses
            container.mux(stream.encode(scaled))
        container.mux(stream.encode(None))
    return target
