"""Options, videos and scripts of tiny runs through the command line."""

from __future__ import annotations

from pathlib import Path

from helpers.encoders import encode

TINY_CLIPS = [
    "--data.sampling.segments=2",
    "--data.sampling.pframes=2",
    "--data.sampling.size=[64,88]",
    "--data.sampling.crop=64",
]


def write_two_classes(root: Path, frames: int) -> None:
    """A video of the classes a and b in each of train, val and test."""
    for subset in ("train", "val", "test"):
        for name in "ab":
            (root / subset / name).mkdir(parents=True)
            encode(root / subset / name / "0.avi", (96, 80), frames=frames)


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
