"""Compares the speed of the package with other libraries, in one report with figures (`make bench`).

Each section runs in its own process and is kept under build/bench/sections until the report is written, so an
interrupted command resumes with the missing sections. Results for other clips, options, versions or sources
are not reused. Without clips, two are generated. A report of some sections has their names in its file name.

    python benchmarks/bench.py [--sections NAME,NAME] [--original] [CLIP...]
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path

import accuracy
import inference
import loading
import numpy as np
import reading
import torch
from bench import PAGES
from bench_report import compose
from machine import slug, versions, why_absent
from measured import Section
from rgb_frames import FRAME_READERS

from cvr_lightning.datamodules.motion_scenes import draw_shot
from cvr_lightning.datamodules.motion_video import write_video
from cvr_lightning.errors import UserError
from cvr_lightning.models import PRESETS

ROOT = Path(__file__).resolve().parents[1]
WORK = ROOT / "build" / "bench"
PACKAGES = (
    "torch",
    "lightning",
    "av",
    "numpy",
    "numba",
    "torchcodec",
    "decord2",
    "onnxruntime",
    "matplotlib",
)
OWN_CLIPS, OWN_SHOTS = ("left", "zoom_in"), 20
COPIES = 8
"""Copies of each clip in the data set for the workers section."""


def main(arguments: list[str]) -> None:
    options = parse(arguments)
    if options.section:
        run_section(options)
        return
    options.clips = options.clips or own_clips(WORK / "clips")
    accuracy.read_runs(options.runs)  # fails early on wrong names
    start = time.monotonic()
    paths = {}
    for place, name in enumerate(options.sections, 1):
        paths[name] = (
            WORK / "sections" / f"{name.replace(' ', '_').replace(',', '')}-{key(name, options)}.json"
        )
        say = f"[{place}/{len(options.sections)}] {name}"
        if paths[name].is_file():
            print(f"{say}: already measured", flush=True)
            continue
        print(f"{say} ...", flush=True)
        began = time.monotonic()
        command = [sys.executable, sys.argv[0], *map(str, options.clips), *passed_on(options)]
        done = subprocess.run([*command, "--section", name, "--write", str(paths[name])])
        if done.returncode:
            sys.exit(f"bench: section '{name}' failed, see above; the same command resumes from there")
        print(f"{say}: {time.monotonic() - began:.0f} s", flush=True)
    sections = {name: Section.from_dict(json.loads(path.read_text())) for name, path in paths.items()}
    suffix = (
        ""
        if len(sections) == len(SECTIONS)
        else f"-{'-'.join(dict.fromkeys(name.split()[0] for name in sections))}"
    )
    report = compose(sections, configuration(options), options.output, suffix)
    shutil.rmtree(WORK / "sections")  # so that the next run measures again
    print(f"{report}: written after {(time.monotonic() - start) / 60:.0f} min")


def section_names(text: str) -> list[str]:
    """Sections of the report by the first word of their names, which are separated by commas."""
    names = [name.strip() for name in text.split(",")]
    if unknown := [name for name in names if name not in KINDS]:
        raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: choose {choices()}")
    return [name for name in SECTIONS if name.split()[0] in names]


def choices() -> str:
    return f"one or more of {','.join(KINDS)}, or one page: {', '.join(PAGES)}"


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="bench.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--sections",
        type=section_names,
        default=list(SECTIONS),
        help=f"{choices()} (default: {','.join(KINDS)})",
    )
    parser.add_argument("clips", nargs="*", type=Path, help="video files (default: two generated ones)")
    parser.add_argument(
        "--runs",
        nargs="*",
        type=Path,
        default=[],
        help="run folders with results.json, for the accuracy figure",
    )
    parser.add_argument("--presets", nargs="+", choices=PRESETS, default=list(PRESETS))
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 4, 16])
    parser.add_argument("--lengths", nargs="+", type=int, default=list(reading.LENGTHS_S), help="seconds")
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=8, help="of each training")
    parser.add_argument(
        "--clock",
        choices=reading.CLOCKS,
        default="wall",
        help="clock of the reading sections: cpu for a busy machine",
    )
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "benchmarks", help="folder of reports")
    parser.add_argument("--original", action="store_true", help="reading: also read the clips as they are")
    parser.add_argument("--section", choices=SECTIONS, help=argparse.SUPPRESS)
    parser.add_argument("--write", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    for path in (path for path in options.clips if not path.is_file()):
        parser.error(f"{path}: no such file; give video files, or none to generate some")
    return options


def passed_on(options: argparse.Namespace) -> list[str]:
    """The options for the process of a section."""
    names = ("runs", "presets", "batches", "lengths", "repetitions", "epochs", "clock")
    given = {name: value if isinstance(value, list) else [value] for name, value in vars(options).items()}
    flags = ["--original"] if options.original else []
    return flags + [text for name in names if given[name] for text in (f"--{name}", *map(str, given[name]))]


def key(name: str, options: argparse.Namespace) -> str:
    """A short hash of everything that a section's result depends on."""
    digest = hashlib.sha256(" ".join([name, *passed_on(options), slug(), versions(PACKAGES)]).encode())
    folders = ("benchmarks", "cvr_lightning", "datamodules")
    for path in (*options.clips, *sorted(path for name in folders for path in (ROOT / name).rglob("*.py"))):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def own_clips(folder: Path) -> list[Path]:
    """Generated clips of ten seconds whose scene changes at every I-frame."""
    paths = [folder / f"generated_{motion}.mp4" for motion in OWN_CLIPS]
    for seed, (path, motion) in enumerate(zip(paths, OWN_CLIPS, strict=True)):
        if not path.is_file():
            rng = np.random.default_rng(seed)
            write_video(path, [draw_shot(rng) for _ in range(OWN_SHOTS)], motion)
    return paths


def run_section(options: argparse.Namespace) -> None:
    """Measure one section in the current process."""
    torch.set_num_threads(os.cpu_count() or 1)
    torch.manual_seed(0)
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        try:
            section = SECTIONS[options.section](options, Path(folder))
        except UserError as error:  # such as a clip without readable residuals
            sys.exit(str(error))
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    took = {"wall_s": time.monotonic() - start, "cpu_s": sum(u.ru_utime + u.ru_stime for u in used)}
    replace(section, date=str(date.today()), **took).write(options.write)


def prepared(options: argparse.Namespace, folder: Path) -> list[Path]:
    return [reading.prepare(clip, folder / f"{clip.stem}.mp4") for clip in options.clips]


def read_clips(options: argparse.Namespace, folder: Path) -> Section:
    reading.use_one_thread()
    rows = reading.measure(
        options.clips, folder, 2 * options.repetitions + 1, options.clock, options.original
    )
    protocol = reading.PROTOCOL.format(repetitions=2 * options.repetitions + 1, clock=options.clock)
    return Section("Reading", protocol, tuple(rows), reference=reading.OURS, absent=absent_readers())


def read_lengths(options: argparse.Namespace, folder: Path) -> Section:
    reading.use_one_thread()
    repetitions = min(3, options.repetitions)
    rows = reading.measure_lengths(options.clips[0], folder, repetitions, options.clock, options.lengths)
    about = reading.PROTOCOL.format(repetitions=repetitions, clock=options.clock)
    protocol = (
        f"{options.clips[0].name}, looped. {about} Memory: increase of the peak by the first read in a new "
        "process, including compiled kernels."
    )
    axis = "seconds of video"
    return Section("Length of the video", protocol, tuple(rows), axis, reading.OURS, absent_readers())


def label_clips(options: argparse.Namespace, folder: Path) -> Section:
    clips, threads = prepared(options, folder), os.cpu_count() or 1
    rows = inference.measure(clips, options.presets, threads, options.repetitions, options.batches)
    rows += inference.measure_parts(clips, options.presets, options.repetitions)
    protocol = inference.PROTOCOL.format(threads=threads, repetitions=options.repetitions)
    reference = "small" if "small" in options.presets else options.presets[0]
    return Section("Inference", protocol, tuple(rows), "batch", reference, inference.absences())


def model_memory(options: argparse.Namespace, folder: Path) -> Section:
    rows = inference.measure_memory(options.presets)
    protocol = "Weights and the first forward pass of one video, each in a new process, float32, one thread."
    return Section("Memory of the models", protocol, tuple(rows))


def read_with_workers(options: argparse.Namespace, folder: Path) -> Section:
    data = folder / "data"
    for clip in prepared(options, folder):
        for subset, copies in (("train", COPIES), ("val", 1), ("test", 1)):
            (data / subset / clip.stem).mkdir(parents=True)
            for number in range(copies):
                shutil.copy(clip, data / subset / clip.stem / f"{number}.mp4")
    workers = sorted({1, 2, os.cpu_count() or 1})
    rows = loading.measure(data, folder / "indexes", workers, options.repetitions)
    protocol = (
        f"{loading.PROTOCOL} {COPIES} copies of each clip, {options.repetitions} repetitions, wall time."
    )
    return Section("Workers", protocol, tuple(rows), "workers", loading.OURS, absent_readers())


def training_of(name: str) -> Callable[[argparse.Namespace, Path], Section]:
    def train(options: argparse.Namespace, folder: Path) -> Section:
        rows = accuracy.train(name, WORK / "motion_shapes", options.epochs)
        return Section(f"Training: {name}", accuracy.protocol(options.epochs), tuple(rows))

    return train


def weigh_cost(options: argparse.Namespace, folder: Path) -> Section:
    clip = prepared(options, folder)[0]
    rows = accuracy.measure_cost(clip, WORK / "motion_shapes", options.repetitions)
    rows += accuracy.read_runs(options.runs)
    absent = dict.fromkeys(inference.PEERS, accuracy.NOT_TRAINED)
    return Section("Accuracy against cost", accuracy.COST_PROTOCOL, tuple(rows), absent=absent)


def absent_readers() -> dict[str, str]:
    reasons = {name: reason for name in FRAME_READERS if (reason := why_absent(name)) is not None}
    return {"CoViAR's loader": "needs its own build of FFmpeg", **reasons}


def configuration(options: argparse.Namespace) -> dict[str, str]:
    """The options of the run, for the report."""
    seconds = ", ".join(map(str, options.lengths))
    return {
        "clips": ", ".join(path.name for path in options.clips)
        + ", each re-encoded as usual (340x256, MPEG-4 Part 2, GOP 12, quantizer 2)"
        + (", and as it is" if options.original else ""),
        "presets": ", ".join(options.presets),
        "batches": ", ".join(map(str, options.batches)),
        "lengths": f"{seconds} s",
        "repetitions": str(options.repetitions),
        "clock of the readers": options.clock,
        "epochs of each training": str(options.epochs),
        "runs given": ", ".join(run.name for run in options.runs) or "none",
        "versions": versions(PACKAGES),
    }


SECTIONS: dict[str, Callable[[argparse.Namespace, Path], Section]] = {
    "reading": read_clips,
    "lengths": read_lengths,
    "memory": model_memory,
    "inference": label_clips,
    "workers": read_with_workers,
    **{f"accuracy of {name}": training_of(name) for name in accuracy.LEARNERS},
    "accuracy": weigh_cost,
}
"""The function that measures each section, in the order of the report."""
KINDS = tuple(dict.fromkeys(name.split()[0] for name in SECTIONS))
