"""What the sections of the GPU benchmark share: sizes, the device, clocks, and the records of a section."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from measured import Measured
from reading import interleave

from cvr_lightning.datamodules.motion_scenes import draw_shot
from cvr_lightning.datamodules.motion_video import write_video
from cvr_lightning.models import Preset

MIB = 2**20
Key = TypeVar("Key", bound=Hashable)


class Note(NamedTuple):
    """What was not measured and why, or an outcome that is not a number."""

    what: str
    text: str


Record = Measured | Note
Records = Iterator[Record]
"""What a section yields, each as soon as it is known."""


@dataclass(frozen=True)
class Plan:
    """Sizes of the benchmark.

    Attributes:
        work: Folder for generated videos.
        presets: Presets to measure.
        batches: Videos per batch of our models.
        peer_batches: The same of X3D-S; CoViAR's shape takes the first two.
        compiled: Batches that are compiled and captured as CUDA graphs too.
        repetitions: Interleaved repetitions of each row.
        seconds: Least seconds of a repetition.
        idle_s: Seconds for the idle power.
        busy_s: Seconds for joules per video.
        train_batches: Clips per training step.
        shots: Shots of the generated clips, of 12 frames each.
        scenes: Training scenes of MotionShapes, of ten videos each.
        epochs: Epochs of the training with the loader, of which the first is not counted.
        is_dry: Tiny sizes; no compiling.
    """

    work: Path
    presets: tuple[Preset, ...] = ("small", "base")
    batches: tuple[int, ...] = (1, 16, 64, 256)
    peer_batches: tuple[int, ...] = (1, 16, 64)
    compiled: tuple[int, ...] = (64, 1)
    repetitions: int = 7
    seconds: float = 0.05
    idle_s: float = 5.0
    busy_s: float = 6.0
    train_batches: tuple[int, ...] = (32, 128)
    shots: int = 20
    scenes: int = 64
    epochs: int = 8
    is_dry: bool = False


def dry(work: Path) -> Plan:
    """The same code in tiny form, for a machine without a GPU."""
    return Plan(
        work,
        presets=("tiny",),
        batches=(1, 2),
        peer_batches=(1,),
        compiled=(1,),
        repetitions=1,
        seconds=0.0,
        idle_s=0.1,
        busy_s=0.1,
        train_batches=(2,),
        shots=2,
        scenes=1,
        epochs=2,
        is_dry=True,
    )


def device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def card() -> str:
    """The card with its driver's CUDA version and compute capability, or that there is none."""
    if not torch.cuda.is_available():
        return "no GPU"
    major, minor = torch.cuda.get_device_capability()
    memory = torch.cuda.get_device_properties(0).total_memory / 2**30
    return f"{torch.cuda.get_device_name()}, {memory:.0f} GiB, sm_{major}{minor}, CUDA {torch.version.cuda}"


def synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def per_call(rows: Mapping[Key, Callable[[], object]], plan: Plan) -> dict[Key, list[float]]:
    """Seconds of one call of each row, interleaved; fast calls are repeated until the clock is exact."""
    counts = {name: _calls(run, plan.seconds) for name, run in rows.items()}

    def repeated(name: Key) -> Callable[[], None]:
        def run() -> None:
            for _ in range(counts[name]):
                rows[name]()
            synchronize()

        return run

    times = interleave({name: repeated(name) for name in rows}, plan.repetitions)
    return {name: [s / counts[name] for s in seconds] for name, seconds in times.items()}


def _calls(run: Callable[[], object], seconds: float) -> int:
    """Calls that take at least some seconds, after two that load kernels."""
    if not seconds:
        return 1
    run()
    run()
    synchronize()
    start = time.perf_counter()
    run()
    synchronize()
    took = max(time.perf_counter() - start, 1e-6)
    return max(1, min(200, int(seconds / took)))


def peak_mib(run: Callable[[], object]) -> float | None:
    """Peak of the card's memory during a call, beyond what was allocated before; None without a card."""
    if not torch.cuda.is_available():
        run()
        return None
    synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    run()
    synchronize()
    return (torch.cuda.max_memory_allocated() - before) / MIB


def guarded(what: str, records: Records, plan: Plan) -> Records:
    """Records up to an error, which becomes a note: one row out of memory does not end a section."""
    try:
        yield from records
    except Exception as error:  # whatever a card raises
        if plan.is_dry:
            raise
        yield Note(what, reason(error))


def reason(error: Exception) -> str:
    """The first line of an error."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200] if lines else ''}"


def clips(plan: Plan) -> list[Path]:
    """Generated clips whose scene changes at every I-frame; written once."""
    paths = [plan.work / "clips" / f"{plan.shots}_{motion}.mp4" for motion in ("left", "zoom_in")]
    for seed, path in enumerate(paths):
        if not path.is_file():
            rng = np.random.default_rng(seed)
            shots = [draw_shot(rng) for _ in range(plan.shots)]
            write_video(path, shots, path.stem.partition("_")[2])
    return paths


def many(paths: list[Path], count: int) -> list[Path]:
    return list(itertools.islice(itertools.cycle(paths), count))
