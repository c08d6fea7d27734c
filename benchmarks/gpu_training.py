"""Training on the card: a step in float32 and bf16-mixed, the card's load with the loader, two processes.

Steps are forward, backward and AdamW on one batch that lies on the card. With the loader, Lightning trains on
generated videos with all cores reading; the load is NVML's, sampled during the training.
"""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from gpu_device import Note, Plan, Records, clips, device, guarded, peak_mib, per_call, reason
from inference import CLASSES, build, cut, read_all
from loading import waiting
from measured import Measured

from cvr_lightning.clip import CompressedClip
from cvr_lightning.datamodules import MotionShapes
from cvr_lightning.energy.counters import gpu_uuid
from cvr_lightning.models import Preset
from cvr_lightning.training.loss import cross_entropy
from cvr_lightning.training.module import RecognitionModule

TITLE = "Training"
PROTOCOL = (
    "8 segments x 3 P-frames at the preset's crop. A step is forward, backward and AdamW on a batch on the "
    "card; the loader reads generated videos on all cores."
)
PROCESSES_S = 60
"""Longest time of the training by two processes."""
SAMPLES_S = 0.1


def measure(plan: Plan) -> Records:
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")
    for preset in plan.presets:
        for batch in plan.train_batches:
            yield from guarded(f"{preset}, steps of {batch}", _steps(preset, batch, plan), plan)
    yield from guarded("training with the loader", _with_loader(plan), plan)
    yield _two_processes(plan)


def _steps(preset: Preset, batch: int, plan: Plan) -> Records:
    classifier = build(preset)
    held = cut(classifier, read_all(clips(plan), classifier.sampling)).to(device())
    rows = torch.arange(batch, device=device()) % len(held)
    clip = held.take(rows).with_tensors(label=torch.arange(batch, device=device()) % CLASSES)
    calls: dict[str, Callable[[], object]] = {
        "float32": _step(preset, clip, torch.float32),
        "bf16-mixed": _step(preset, clip, torch.bfloat16),
    }
    for way, seconds in per_call(calls, plan).items():
        yield Measured(preset, "clips/s", tuple(batch / s for s in seconds), f"a step, {way}", batch)
    for way, call in calls.items():
        peak = peak_mib(call)
        if peak is not None:
            yield Measured(preset, "MiB", (peak,), f"a step, {way}", batch)


def _step(preset: Preset, clip: CompressedClip, dtype: torch.dtype) -> Callable[[], None]:
    torch.manual_seed(0)
    module = RecognitionModule([str(number) for number in range(CLASSES)], preset=preset).to(device())
    optimizer = torch.optim.AdamW(module.parameters(), lr=1e-4)

    def step() -> None:
        with torch.autocast(device().type, dtype=dtype, enabled=dtype != torch.float32):
            logits, modality_loss = module._logits_and_modality_loss(clip)
            loss = cross_entropy(logits, clip, module.label_smoothing) + modality_loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def _with_loader(plan: Plan) -> Records:
    """Time that training waits for batches, and the card's load meanwhile."""
    workers = 0 if plan.is_dry else os.cpu_count() or 1
    data = _shapes(plan, batch_size=2 if plan.is_dry else 32, num_workers=workers)
    data.prepare_data()
    preset = plan.presets[0]
    precision = "32-true" if plan.is_dry else "bf16-mixed"
    with _load() as sampled:
        waited = waiting(data, preset, precision, plan.epochs)
    group = f"{preset}, {precision}, the loader with {workers} processes"
    yield Measured("waiting for data", "%", (100 * waited,), group)
    if sampled:
        later = sampled[len(sampled) // 2 :]  # workers and kernels are loaded
        yield Measured("load of the card (NVML)", "%", tuple(map(float, later)), group)
    else:
        yield Note("load of the card", "no NVML: needs an NVIDIA GPU and nvidia-ml-py")


def _shapes(plan: Plan, **options: Any) -> MotionShapes:
    scenes = {"train_scenes": plan.scenes, "val_scenes": 1, "test_scenes": 1}
    return MotionShapes(_root(plan), **scenes, **options)


def _root(plan: Plan) -> Path:
    return plan.work / f"shapes_{plan.scenes}"


@contextmanager
def _load() -> Iterator[list[int]]:
    """Sample the fraction of time in which the card runs a kernel, in percent; nothing without NVML."""
    found: list[int] = []
    try:
        import pynvml

        uuid = gpu_uuid(device())
        if uuid is None:
            raise RuntimeError("no NVIDIA GPU")
        pynvml.nvmlInit()
        handle = pynvml.nvmlDeviceGetHandleByUUID(uuid)
    except Exception:  # reported by its absence
        yield found
        return
    done = threading.Event()

    def sample() -> None:
        while not done.wait(SAMPLES_S):
            found.append(pynvml.nvmlDeviceGetUtilizationRates(handle).gpu)

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield found
    finally:
        done.set()
        thread.join()


def _two_processes(plan: Plan) -> Note:
    """Whether two processes train on one card, or who refuses."""
    what = "two processes on one card"
    scenes = [f"--data.{subset}_scenes={count}" for subset, count in _shapes(plan).scenes.items()]
    command = [
        *(sys.executable, "-m", "cvr_lightning", "fit", "--data=MotionShapes", f"--data.root={_root(plan)}"),
        *scenes,
        *("--data.num_workers=0", "--data.batch_size=2", "--trainer.max_steps=2", "--trainer.devices=2"),
        *(f"--trainer.accelerator={'gpu' if torch.cuda.is_available() else 'cpu'}", "--trainer.strategy=ddp"),
        *("--trainer.limit_val_batches=0", f"--trainer.default_root_dir={plan.work / 'runs'}", "--run=two"),
        *("--trainer.enable_progress_bar=false", "--trainer.logger=false"),
    ]
    shutil.rmtree(plan.work / "runs", ignore_errors=True)
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PROCESSES_S)
    except subprocess.TimeoutExpired as error:
        return Note(what, reason(error))
    if done.returncode == 0:
        return Note(what, "run")
    said = (done.stderr.strip() or done.stdout.strip() or "nothing").splitlines()
    return Note(what, f"refused, exit status {done.returncode}: {said[-1][:300]}")
