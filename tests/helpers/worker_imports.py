"""What a spawned reading process loads: shared by the tests of data sets."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path

from cvr_lightning.datamodules import CompressedVideoDataModule

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = """
import pickle, sys

dataset, draws, collate, start = pickle.load(sys.stdin.buffer)
start(0)
assert len(collate(dataset.__getitems__(draws))) == len(draws)
print(*sys.modules)
"""


def modules_of_a_worker(data: CompressedVideoDataModule) -> set[str]:
    """The packages that reading a batch of training loads in a process that knows nothing else."""
    loader = data.train_dataloader()
    draws = list(loader.sampler)[:2]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        input=pickle.dumps((loader.dataset, draws, loader.collate_fn, loader.worker_init_fn)),
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr.decode()
    return {name.partition(".")[0] for name in done.stdout.decode().split()}
