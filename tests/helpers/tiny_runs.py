"""Options, videos and scripts of tiny runs through the command line."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from cvr_lightning.cli.main import main
from cvr_lightning.datamodules.sampling import ClipSampling
from cvr_lightning.evaluation.provenance import versions
from cvr_lightning.models import CompressedVideoRecognizer
from cvr_lightning.training.checkpoint_schema import FORMAT
from helpers.encoders import encode

TINY_CLIPS = [
    "--data.sampling.segments=2",
    "--data.sampling.pframes=2",
    "--data.sampling.size=[64,88]",
    "--data.sampling.crop=64",
]
CLIPS = [*TINY_CLIPS, "--data.num_workers=0"]
AUGMENTED = [
    "--data.augmentation.scale_jitter=[1.0,0.75]",
    "--data.augmentation.mixup=0.2",
    "--data.augmentation.cutmix=1.0",
    "--data.augmentation.modality_dropout=0.1",
]
TINY_TRAINER = ["--trainer.enable_progress_bar=false", "--trainer.num_sanity_val_steps=0"]


def write_two_classes(root: Path, frames: int) -> None:
    """A video of the classes a and b in each of train, val and test."""
    for subset in ("train", "val", "test"):
        for name in "ab":
            (root / subset / name).mkdir(parents=True)
            encode(root / subset / name / "0.avi", (96, 80), frames=frames)


def untrained_checkpoint(path: Path, names: list[str], sampling: ClipSampling) -> Path:
    """Write what later commands need of a checkpoint, with random weights."""
    torch.manual_seed(0)
    model = CompressedVideoRecognizer(len(names), residual_channels=sampling.residual_channels)
    about = {
        "format": FORMAT,
        "class_names": names,
        "architecture": model.architecture,
        "sampling": sampling.to_dict(),
        "averaging": "softmax",
        "versions": versions(),
    }
    weights = {f"recognizer.{name}": tensor for name, tensor in model.state_dict().items()}
    torch.save({"state_dict": weights, "cvr_lightning": about}, path)
    return path


def killed_in_second_epoch(module: str, batch: int) -> str:
    """A script that runs a command, whose process is killed at a batch of its second epoch.

    Args:
        module: ``package.module.Class`` of the LightningModule that is trained.
        batch: Index of the batch.
    """
    path, _, name = module.rpartition(".")
    return f"""
import os, signal, sys
from cvr_lightning.cli.main import main
from {path} import {name}

step = {name}.training_step

def mortal_step(self, clip, batch_index):
    if self.current_epoch == 1 and batch_index == {batch}:
        os.kill(os.getpid(), signal.SIGKILL)
    return step(self, clip, batch_index)

{name}.training_step = mortal_step
main(sys.argv[1:])
"""


def fit_arguments(shapes: Path, runs: Path, *more: str) -> list[str]:
    """Train for two epochs of 20 videos into ``runs``/tiny."""
    return [
        "fit",
        "--data=Folder",
        f"--data.root={shapes}",
        "--data.batch_size=5",
        f"--trainer.default_root_dir={runs}",
        "--run=tiny",
        "--trainer.max_epochs=2",
        "--trainer.log_every_n_steps=1",
        *CLIPS,
        *AUGMENTED,
        *TINY_TRAINER,
        *more,
    ]


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one message that a command ends with."""
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    error = capsys.readouterr().err
    assert stop.value.code in (1, 2)
    assert "Traceback" not in error
    return error
