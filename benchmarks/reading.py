"""Time to read one video: our test input beside what others need for theirs, in one process.

Each source is first re-encoded as the field prepares its data (340x256, MPEG-4 Part 2, GOP 12, no B-frames,
quantiser 2). Repetitions of all readers are interleaved in changing order, so that a slow moment of the
machine, or what one reader leaves behind, hits all alike; the table gives medians with quartiles, and how
many times our indexed read each takes. One thread, page cache warm. Every reader is opened anew for each
repetition. A second table gives the time of one P-frame: ours with residual, FFmpeg's with vectors alone.
On a machine that is busy with other work, ``--clock cpu`` takes the processor time of all threads instead.

    python benchmarks/reading.py CLIP... [--repetitions 15] [--clock cpu] [--output report.md]
    python benchmarks/reading.py CLIP --lengths     # does the cost grow with the length of the video?
"""

from __future__ import annotations

import argparse
import itertools
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from machine import heading, installed

from cvr_lightning.codec import CompressedVideoReader, PacketIndex, Segment

SEGMENTS, PFRAMES, SIZE, FRAMES = 8, 3, (224, 224), 16
LENGTHS_S = (10, 60, 600)
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
PACKAGES = ("av", "numpy", "numba", "torchcodec", "decord2")
PROTOCOL = (
    f"Ours: {SEGMENTS} segments x {PFRAMES} P-frames, I-frames {SIZE[0]}x{SIZE[1]} RGB. "
    "Medians of {repetitions}, {clock} time."
)

Clock = Callable[[], float]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("clips", nargs="+", type=Path)
    parser.add_argument("--repetitions", type=int, default=15)
    parser.add_argument("--lengths", action="store_true", help="read 10 s, 60 s and 600 s of the first clip")
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="time that passes, or processor time")
    parser.add_argument("--output", type=Path, help="also append the report to this file")
    options = parser.parse_args()
    if installed("torchcodec"):
        import torch

        torch.set_num_threads(1)  # its idle threads would go on spinning into the next reader's time
    with tempfile.TemporaryDirectory() as folder:
        if options.lengths:
            report = lengths_report(options.clips[0], Path(folder), options.repetitions, options.clock)
        else:
            report = readers_report(options.clips, Path(folder), options.repetitions, options.clock)
    print(report)
    if options.output:
        with options.output.open("a", encoding="utf-8") as file:
            file.write(report + "\n")


def readers_report(clips: list[Path], folder: Path, repetitions: int, clock: str) -> str:
    """A table of all readers for each clip."""
    protocol = PROTOCOL.format(repetitions=repetitions, clock=clock)
    lines = [heading("Reading one video", PACKAGES, protocol)]
    for clip in clips:
        prepared = prepare(clip, folder / f"{clip.stem}.mp4")
        with CompressedVideoReader(prepared) as reader:
            index, frames, parser = reader.index, reader.info.num_frames, reader.parser
        times = interleave(readers(prepared, index), repetitions, CLOCKS[clock])
        ours = statistics.median(times["ours, indexed"])
        lines += [
            f"\n{clip.name}: {frames} frames, parser {parser}\n",
            "| reader | ms | quartiles | x ours |",
        ]
        lines.append("|---|---|---|---|")
        for name, seconds in times.items():
            low, middle, high = (1e3 * value for value in statistics.quantiles(seconds, n=4))
            lines.append(f"| {name} | {middle:.2f} | {low:.2f} - {high:.2f} | {middle / ours / 1e3:.1f} |")
        lines += [f"| {name} | absent | | |" for name in ("torchcodec", "decord") if not installed(name)]
        lines += pframe_rows(prepared, index, repetitions, CLOCKS[clock])
    return "\n".join(lines)


def pframe_rows(path: Path, index: PacketIndex, repetitions: int, clock: Clock) -> list[str]:
    """A table of the time that one P-frame takes, as the mean over all of the video."""
    count = index.frame_types.count("P")
    rows = {
        "ours: vectors, modes, 16 + 2 x 4 coefficients": lambda: read_all_pframes(path, index, clock),
        "FFmpeg: decoded, vectors exported": lambda: decode_all_pframes(path, clock),
    }
    seconds: dict[str, list[float]] = {name: [] for name in rows}
    for _ in range(repetitions):
        for name, read in rows.items():
            seconds[name].append(read())
    lines = ["", f"| one P-frame of {count} | microseconds |", "|---|---|"]
    return [
        *lines,
        *(f"| {name} | {1e6 * statistics.median(s) / count:.0f} |" for name, s in seconds.items()),
    ]


def read_all_pframes(path: Path, index: PacketIndex, clock: Clock) -> float:
    """Seconds to read every P-frame at its own size."""
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
    """What is timed, by the name of its row."""
    rows: dict[str, Callable[[], object]] = {
        "ours, indexed": lambda: read_ours(path, index),
        "ours, first open": lambda: read_ours(path, None),
        "ours, P-frames only, indexed": lambda: read_ours(path, index, ("motion", "residual")),
        "PyAV, every frame to RGB": lambda: [f.to_ndarray(format="rgb24") for f in decode(path)],
        "PyAV, export_mvs, no RGB": lambda: [
            f.side_data["MOTION_VECTORS"].to_ndarray()
            for f in decode(path, {"flags2": "+export_mvs"})
            if "MOTION_VECTORS" in f.side_data
        ],
        "PyAV, demux only": lambda: demux(path),
    }
    if installed("torchcodec"):
        rows[f"torchcodec, {FRAMES} frames, exact"] = lambda: read_torchcodec(path)
    if installed("decord"):
        rows[f"decord, {FRAMES} frames"] = lambda: read_decord(path)
    return rows


def read_ours(path: Path, index: PacketIndex | None, modalities: tuple[str, ...] | None = None) -> object:
    with CompressedVideoReader(path, index=index) as reader:
        chosen = reader.segments(SEGMENTS, PFRAMES)
        if modalities is None:
            return reader.read(chosen, t=PFRAMES, size=SIZE)
        return reader.read(chosen, t=PFRAMES, size=SIZE, modalities=modalities)  # type: ignore[arg-type]


def decode(path: Path, options: dict[str, str] | None = None) -> Iterator[av.VideoFrame]:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        stream.codec_context.options = options or {}
        yield from container.decode(stream)


def demux(path: Path) -> int:
    with av.open(str(path)) as container:
        return sum(packet.size for packet in container.demux(video=0))


def read_torchcodec(path: Path) -> object:
    from torchcodec.decoders import VideoDecoder

    decoder = VideoDecoder(str(path), num_ffmpeg_threads=1, seek_mode="exact")
    return decoder.get_frames_at(uniform(decoder.metadata.num_frames)).data


def read_decord(path: Path) -> object:
    from decord import VideoReader, cpu

    reader = VideoReader(str(path), ctx=cpu(0), num_threads=1)
    return reader.get_batch(uniform(len(reader))).asnumpy()


def uniform(frames: int) -> list[int]:
    return [int(frame) for frame in np.linspace(0, frames - 1, FRAMES)]


def interleave(
    rows: dict[str, Callable[[], object]], repetitions: int, clock: Clock = time.perf_counter
) -> dict[str, list[float]]:
    """Seconds of each repetition of each row, after one that is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in rows}
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


def lengths_report(clip: Path, folder: Path, repetitions: int, clock: str) -> str:
    """Time and memory of an indexed read for videos of different length."""
    lines = [
        heading("Cost and length", PACKAGES, PROTOCOL.format(repetitions=repetitions, clock=clock)),
        "",
        "| seconds | frames | ms | peak memory of a fresh process (MiB) |",
    ]
    lines.append("|---|---|---|---|")
    for seconds in LENGTHS_S:
        path, cached = folder / f"{seconds}.mp4", folder / f"{seconds}.index"
        prepare(clip, path, seconds)
        with CompressedVideoReader(path) as reader:
            cached.write_bytes(reader.index.to_bytes())
            frames = reader.info.num_frames
        index = PacketIndex.from_bytes(cached.read_bytes())
        rows = {"ours": lambda path=path, index=index: read_ours(path, index)}
        times = interleave(rows, repetitions, CLOCKS[clock])["ours"]
        memory = peak_memory(path, cached)
        lines.append(f"| {seconds} | {frames} | {1e3 * statistics.median(times):.2f} | {memory:.0f} |")
    return "\n".join(lines)


def peak_memory(path: Path, cached: Path) -> float:
    """Peak resident memory in MiB of a process that reads once by the cached index."""
    program = (
        "import sys; sys.path.insert(0, sys.argv[1]); import reading; reading.report_memory(*sys.argv[2:])"
    )
    command = [sys.executable, "-c", program, str(Path(__file__).parent), str(path), str(cached)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def report_memory(path: str, cached: str) -> None:
    read_ours(Path(path), PacketIndex.from_bytes(Path(cached).read_bytes()))
    # Not ru_maxrss, in which Linux counts the parent's memory at the moment of the fork.
    status = Path("/proc/self/status").read_text()
    print(int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 1024)  # type: ignore[index]


def prepare(source: Path, target: Path, seconds: int | None = None) -> Path:
    """Re-encode to 340x256, GOP 12, no B-frames, quantiser 2; looped or cut to a length if one is given."""
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


if __name__ == "__main__":
    main()
