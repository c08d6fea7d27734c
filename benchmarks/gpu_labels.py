"""From the file to the label with all cores reading, and what a video costs in each stage; X3D-S beside it.

Ours reads in threads (as ``cvr classify``) or in worker processes of the loader (as ``cvr test``). X3D-S
reads its 13 frames in as many threads with each installed reader, and labels batches of the same size.
"""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from pathlib import Path

import torch
from gpu_device import Note, Plan, Records, clips, device, guarded, many, per_call, synchronize
from gpu_models import forward
from inference import COVIAR, COVIAR_ABSENT, build, cut, label_all, read_all
from loading import datamodule
from machine import why_absent
from measured import FILE, Measured
from peers import X3D, X3D_INPUT
from reading import interleave
from rgb_frames import FRAME_READERS
from torch import Tensor
from torch.nn import functional as F

from cvr_lightning.clip import collate
from cvr_lightning.datamodules.pipelines import EvalTransform
from cvr_lightning.inference.classify import Classifier

TITLE = "From the file to the label"
PROTOCOL = (
    "Generated clips of 340x256 pixels, MPEG-4 Part 2, GOP 12, without indexes; all cores read while the "
    "model runs, bf16 autocast, one view."
)
FILES_OF_BATCHES = 4
"""Files of a repetition, in batches."""


def measure(plan: Plan) -> Records:
    cores, batch = os.cpu_count() or 1, 2 if plan.is_dry else 64
    workers = 0 if plan.is_dry else cores
    files = many(clips(plan), FILES_OF_BATCHES * batch)
    rows: dict[tuple[str, str], Callable[[], object]] = {}
    for preset in plan.presets:
        classifier = build(preset, str(device()))
        classifier.dtype = torch.bfloat16
        rows[preset, f"{cores} threads"] = partial(label_all, classifier, files, batch, cores)
        rows[preset, f"{workers} processes"] = _in_processes(classifier, plan, files, batch, workers)
    for package, read in FRAME_READERS.items():
        missing = why_absent(package)
        if missing is None:
            rows[f"X3D-S, {package}", f"{cores} threads"] = partial(label_frames, read, files, batch, cores)
        else:
            yield Note(f"X3D-S, {package}", missing)
    yield Note(f"{COVIAR}, file to label", COVIAR_ABSENT)
    for (what, how), seconds in interleave(rows, min(3, plan.repetitions)).items():
        yield Measured(what, "videos/s", tuple(len(files) / s for s in seconds), f"{FILE}, {how}", batch)
    for preset in plan.presets:
        yield from guarded(f"{preset}, stages", _stages(preset, files[:batch], plan), plan)


def _in_processes(
    classifier: Classifier, plan: Plan, files: Sequence[Path], batch: int, workers: int
) -> Callable[[], None]:
    """Label a data set of the files with the loader's worker processes."""
    root = plan.work / "files"
    shutil.rmtree(root, ignore_errors=True)
    for number, path in enumerate(files):
        for subset in ("train", "val", "test") if number < 2 else ("train",):
            target = root / subset / path.stem / f"{number}.mp4"
            target.parent.mkdir(parents=True, exist_ok=True)
            os.link(path, target)
    data = datamodule(root, None, workers, batch)
    cut_views = EvalTransform(classifier.sampling)
    loader = data.train_dataloader()  # the whole data set

    def label() -> None:
        for clip in loader:
            moved = cut_views(clip.to(device(), non_blocking=True))
            forward(classifier.recognizer, moved, dtype=torch.bfloat16).softmax(-1).cpu()

    return label


def label_frames(
    read: Callable[[Path, int], Tensor], paths: Sequence[Path], batch: int, threads: int
) -> None:
    """Label videos by X3D-S in batches while threads read ahead."""
    _, frames, side, _ = X3D_INPUT
    model = _x3d()
    with ThreadPoolExecutor(threads) as pool:
        read_ahead = pool.map(lambda path: read(path, frames), paths)
        for pictures in _batches(read_ahead, batch):
            moved = torch.stack(pictures).to(device()).flatten(0, 1).float() / 255
            scaled = F.interpolate(moved, size=(side, side), mode="bilinear")
            views = scaled.view(len(pictures), frames, 3, side, side).transpose(1, 2)
            forward(model, views, dtype=torch.bfloat16).softmax(-1).cpu()


@cache
def _x3d() -> X3D:
    return X3D().eval().to(device())


def _batches(pictures: Iterator[Tensor], batch: int) -> Iterator[list[Tensor]]:
    while part := list(itertools.islice(pictures, batch)):
        yield part


def _stages(preset: str, files: Sequence[Path], plan: Plan) -> Records:
    """Milliseconds of each stage per video of a batch; reading by one thread."""
    classifier = build(preset, str(device()))  # type: ignore[arg-type]
    samples = read_all(files, classifier.sampling)
    batch = collate(samples)
    held = cut(classifier, samples)
    stages: dict[str, Callable[[], object]] = {
        "reading, one thread": partial(read_all, files, classifier.sampling),
        "collating": partial(collate, samples),
        "transfer": lambda: (batch.to(device()), synchronize()),
        "crops": partial(EvalTransform(classifier.sampling), batch.to(device())),
        "model, bf16": partial(forward, classifier.recognizer, held, dtype=torch.bfloat16),
    }
    for stage, seconds in per_call(stages, plan).items():
        each = tuple(1e3 * s / len(files) for s in seconds)
        yield Measured(stage, "ms", each, f"{preset}, one video of {len(files)}")
