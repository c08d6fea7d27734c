"""Cost of the default callbacks, compared with the steps and validations that they monitor.

One process, one thread, CPU seconds, which other load on the machine affects least. Training steps alternate:
without callbacks, with all, and with all when SpikeSparsity takes a sample. Validations likewise: without,
with all, with all when images are drawn. Reading is not part of a step. The medians give the fraction of a
whole run: that of configs/demo.yaml, the shortest, and one of the size of UCF-101.

    python benchmarks/bench.py --sections callbacks FOLDER [--preset tiny] [--steps 60]

FOLDER has the layout of `Folder`, with subsets train and val.
"""

from __future__ import annotations

import logging
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning import Trainer
from lightning.pytorch import Callback
from lightning.pytorch.loggers import TensorBoardLogger
from page import arguments, publish

from cvr_lightning.callbacks import SpikeSparsity
from cvr_lightning.callbacks.defaults import default_callbacks
from cvr_lightning.callbacks.loggers import PictureCallback
from cvr_lightning.datamodules import Folder
from cvr_lightning.datamodules.sampling import ClipSampling
from cvr_lightning.models import PRESETS
from cvr_lightning.training.module import RecognitionModule

BATCH, SEGMENTS, PFRAMES = 16, 4, 4
VALIDATIONS = 3  # of each kind
RUNS = {
    "configs/demo.yaml": (8, 37, 100),
    "UCF-101, split 1": (30, 596, 3783),
}  # epochs, steps, videos of val
STARTING = ("on_fit_start", "on_train_start", "on_train_epoch_start")
HOOKS = [
    *STARTING,
    *("on_train_batch_start", "on_before_backward", "on_after_backward", "on_before_optimizer_step"),
    *("on_before_zero_grad", "on_train_batch_end"),
    *("on_validation_start", "on_validation_batch_start", "on_validation_batch_end", "on_validation_end"),
]


class Switch(Callback):
    """Passes the trainer's calls on to one group of callbacks, another with every step."""

    def __init__(self, groups: dict[str, list[Callback]]) -> None:
        self.groups = groups
        self.active = "none"
        self.seconds: dict[str, list[float]] = {name: [] for name in groups}

    def setup(self, trainer: Trainer, pl_module: Any, stage: str) -> None:
        for callbacks in self.groups.values():
            for callback in callbacks:
                callback.setup(trainer, pl_module, stage)

    def forward(self, hook: str, *arguments: Any) -> None:
        if hook == "on_train_batch_start":
            self.active = list(self.groups)[arguments[-1] % len(self.groups)]
            self._start = time.process_time()
        everyone = [callback for callbacks in self.groups.values() for callback in callbacks]
        for callback in everyone if hook in STARTING else self.groups[self.active]:
            getattr(callback, hook)(*arguments)
        if hook == "on_train_batch_end":
            self.seconds[self.active].append(time.process_time() - self._start)


def _passes_on(hook: str) -> Callable[..., None]:
    return lambda self, *arguments: self.forward(hook, *arguments)


for _hook in HOOKS:
    setattr(Switch, _hook, _passes_on(_hook))


def main(given: list[str]) -> None:
    parser = arguments("callbacks", __doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--preset", choices=PRESETS, default="tiny")
    parser.add_argument("--steps", type=int, default=60)
    options = parser.parse_args(given)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        step, validation, videos = measure(options.folder, options.preset, options.steps, folder)
    protocol = (
        f"Preset {options.preset}, batches of {BATCH}, {SEGMENTS} segments x {PFRAMES} P-frames, one thread; "
        f"validation of {videos} videos; medians."
    )
    packages = ("torch", "lightning", "matplotlib")
    publish(
        options.output, "Cost of the default callbacks", packages, protocol, table(step, validation, videos)
    )


def measure(
    root: Path, preset: Any, steps: int, folder: str
) -> tuple[dict[str, float], dict[str, float], int]:
    """CPU seconds of a step and of a validation with groups of callbacks, and the validated videos."""
    data = Folder(
        root, batch_size=BATCH, num_workers=0, sampling=ClipSampling(segments=SEGMENTS, pframes=PFRAMES)
    )
    data.setup()
    module = RecognitionModule(data.class_names, data.residual_channels, preset=preset)
    switch = Switch(groups())
    epoch = len(data.train_dataloader())
    trainer = Trainer(
        max_steps=steps + 1,
        max_epochs=-(-steps // epoch) + 1,
        logger=TensorBoardLogger(folder),
        callbacks=[switch],
        log_every_n_steps=3,
        limit_val_batches=0,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, data)
    step = {name: statistics.median(seconds[1:]) for name, seconds in switch.seconds.items()}
    return step, validations(folder, switch, module, data), len(data.videos["val"])


def groups() -> dict[str, list[Callback]]:
    """No callbacks; all, without samples of spikes; all, with a sample in every step."""
    watching = [callback for callback in default_callbacks("fit") if not isinstance(callback, SpikeSparsity)]
    return {
        "none": [],
        "all": [*watching, SpikeSparsity(every_n_steps=10**9)],
        "sampled": [*watching, SpikeSparsity(every_n_steps=1)],
    }


def validations(folder: str, switch: Switch, module: RecognitionModule, data: Folder) -> dict[str, float]:
    """CPU seconds of a validation: without callbacks, with them, with them and their pictures."""
    trainer = Trainer(
        logger=TensorBoardLogger(folder),
        callbacks=[switch],
        enable_progress_bar=False,
        enable_checkpointing=False,
    )
    drawing = [callback for callback in switch.groups["all"] if isinstance(callback, PictureCallback)]
    seconds: dict[str, list[float]] = {"none": [], "all": [], "drawn": []}
    for _ in range(VALIDATIONS + 1):
        for kind, taken in seconds.items():
            switch.active = "none" if kind == "none" else "all"
            for callback in drawing:
                callback.validations = 3 if kind == "drawn" else 2  # the fourth is drawn, the third is not
            start = time.process_time()
            trainer.validate(module, data, verbose=False)
            taken.append(time.process_time() - start)
    return {kind: statistics.median(taken[1:]) for kind, taken in seconds.items()}


def table(step: dict[str, float], validation: dict[str, float], videos: int) -> list[str]:
    every = SpikeSparsity().every_n_steps
    sample = step["sampled"] - step["all"]
    watched = step["all"] - step["none"]
    lines = [
        "| | ms of CPU | of a step |\n|---|---|---|",
        f"| training step | {1e3 * step['none']:.1f} | |",
        f"| callbacks, each step | {1e3 * watched:.2f} | {watched / step['none']:.2%} |",
        f"| SpikeSparsity's sample | {1e3 * sample:.2f} | {sample / step['none']:.2%} |",
        f"| the same, over {every} | {1e3 * sample / every:.2f} | {sample / every / step['none']:.2%} |",
        f"| validation | {1e3 * validation['none']:.0f} | |",
        f"| callbacks, each validation | {1e3 * (validation['all'] - validation['none']):.0f} | |",
        f"| pictures, each time | {1e3 * (validation['drawn'] - validation['all']):.0f} | |",
        "\n| whole run | callbacks, fraction of its CPU time |\n|---|---|",
    ]
    for name, (epochs, steps, val) in RUNS.items():
        drawn = epochs.bit_length() + (epochs & (epochs - 1) > 0)
        added = epochs * steps * (watched + sample / every)
        added += epochs * (validation["all"] - validation["none"])
        added += drawn * (validation["drawn"] - validation["all"])
        plain = epochs * (steps * step["none"] + validation["none"] * val / videos)
        lines.append(f"| {name}: {epochs} epochs of {steps} steps, {drawn} drawn | {added / plain:.2%} |")
    return lines
