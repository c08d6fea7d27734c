"""SIGTERM to a whole process group, as from a terminal, `timeout` or a batch system."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.tiny_runs import TINY_CLIPS, write_two_classes

STOPPER = """
import multiprocessing, os, signal
from lightning.pytorch import Callback

class Stopper(Callback):
    def stop(self, trainer, *arguments):
        if trainer.is_global_zero and trainer.current_epoch == trainer.max_epochs - 2:
            os.killpg(os.getpgrp(), signal.SIGTERM)
            for worker in multiprocessing.active_children():
                worker.join()

    on_train_batch_start = stop
"""


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("videos")
    write_two_classes(root, frames=10)
    return root


def fit(videos: Path, folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    """Train in a process group of its own, which ends itself in the last epoch but one."""
    (folder / "stopper.py").write_text(STOPPER)
    command = [
        *(sys.executable, "-m", "cvr_lightning", "fit", "--data=Folder", f"--data.root={videos}"),
        *("--import", str(folder / "stopper.py"), "--trainer.callbacks=stopper.Stopper"),
        *(*TINY_CLIPS, "--data.batch_size=1", "--data.num_workers=2", "--run=x"),
        *("--trainer.accelerator=cpu", f"--trainer.default_root_dir={folder}", *more),
    ]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, start_new_session=True, timeout=240
    )


@pytest.mark.parametrize("processes", [1, 2])
def test_a_group_with_reading_workers_ends_with_143_and_the_way_on(
    videos: Path, tmp_path: Path, processes: int
) -> None:
    strategy = [f"--trainer.devices={processes}", *(["--trainer.strategy=ddp"] if processes > 1 else [])]
    done = fit(videos, tmp_path, "--trainer.max_epochs=3", *strategy)
    assert done.returncode == 143, done.stderr
    assert f"the last complete checkpoint is {tmp_path}/x/checkpoints/last.ckpt" in done.stderr
    assert "Traceback" not in done.stderr
    assert "has died" not in done.stderr
