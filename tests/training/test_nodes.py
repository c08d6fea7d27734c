"""Two machines, stood for by two network namespaces, train as one process and survive the loss of one."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.encoders import encode
from helpers.tiny_runs import TINY_CLIPS

from cvr_lightning.cli.main import main
from cvr_lightning.tools.report.run import read_curves

ROOT = Path(__file__).resolve().parents[2]
PREFIX = f"cvr{os.getpid() % 10_000_000}"
"""Of interfaces, whose names have at most 15 characters."""
NODES = (f"{PREFIX}a", f"{PREFIX}b")
ADDRESSES = ("10.213.77.1", "10.213.77.2")
EPOCHS, BATCHES = 3, 4


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


@pytest.fixture(scope="module")
def nodes() -> Iterator[tuple[str, ...]]:
    """Two network namespaces, joined by a cable of their own."""
    if shutil.which("ip") is None:
        pytest.skip("no network namespaces: the program ip is not installed")
    try:
        ip("netns", "add", NODES[0])
    except subprocess.CalledProcessError as error:
        pytest.skip(f"network namespaces are not allowed: {error.stderr.decode().strip()}")
    try:
        ip("netns", "add", NODES[1])
        ip("link", "add", NODES[0], "netns", NODES[0], "type", "veth", "peer", NODES[1], "netns", NODES[1])
        for node, address in zip(NODES, ADDRESSES, strict=True):
            ip("-n", node, "address", "add", f"{address}/24", "dev", node)
            ip("-n", node, "link", "set", node, "up")
            ip("-n", node, "link", "set", "lo", "up")
        yield NODES
    finally:
        for node in NODES:
            subprocess.run(["ip", "netns", "delete", node], capture_output=True)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight training videos of two classes, and two for validation."""
    root = tmp_path_factory.mktemp("nodes")
    for subset, count in {"train": 8, "val": 2}.items():
        for number in range(count):
            path = root / "data" / subset / "ab"[number % 2] / f"{number}.avi"
            path.parent.mkdir(parents=True, exist_ok=True)
            encode(path, (96, 80), frames=10 + number)
    return root


def training(root: Path, run: str, nodes: int) -> list[str]:
    """Arguments of three epochs of four steps of two clips, shared by so many nodes of one process."""
    return [
        "fit",
        "--data=Folder",
        f"--data.root={root / 'data'}",
        *TINY_CLIPS,
        f"--data.batch_size={2 // nodes}",
        "--data.num_workers=0",
        "--model.dropout=0",  # each process draws its own
        f"--trainer.default_root_dir={root}",
        f"--trainer.max_epochs={EPOCHS}",
        "--trainer.precision=64-true",  # sums in another order otherwise flip a spike sooner or later
        "--trainer.accelerator=cpu",
        f"--trainer.strategy={'ddp' if nodes > 1 else 'auto'}",
        f"--trainer.num_nodes={nodes}",
        "--trainer.devices=1",
        "--trainer.log_every_n_steps=1",
        "--trainer.num_sanity_val_steps=0",
        "--trainer.enable_progress_bar=false",
        f"--run={run}",
        "--save_every=3",
    ]


def start(node: int, script: Path, arguments: list[str]) -> subprocess.Popen[str]:
    """Start torchrun on a node, in a process group of its own."""
    launch = ["-m", "torch.distributed.run", "--nnodes=2", f"--node-rank={node}", "--nproc-per-node=1"]
    launch += [f"--master-addr={ADDRESSES[0]}", "--master-port=29517", "--", str(script), *arguments]
    own = {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": NODES[node], "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        ["ip", "netns", "exec", NODES[node], sys.executable, *launch],
        cwd=ROOT,
        env={**os.environ, **own},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


LOSES_A_NODE = """
import os, signal, sys
from cvr_lightning.cli.main import main
from cvr_lightning.training.module import RecognitionModule

step = RecognitionModule.training_step

def mortal_step(self, clip, batch_index):
    if (self.global_rank, self.current_epoch, batch_index) == (1, 1, 3):
        os.kill(os.getppid(), signal.SIGKILL)  # torchrun of this node
        os.kill(os.getpid(), signal.SIGKILL)
    return step(self, clip, batch_index)

if "--ckpt_path=last" not in sys.argv:
    RecognitionModule.training_step = mortal_step
main(sys.argv[1:])
"""


def in_two_nodes(root: Path, arguments: list[str]) -> list[subprocess.CompletedProcess[str]]:
    """Run a training until both nodes have ended."""
    script = root / "training.py"
    script.write_text(LOSES_A_NODE)
    running = [start(node, script, arguments) for node in (0, 1)]
    try:
        errors = [process.communicate(timeout=500)[1] for process in running]
    finally:
        for process in running:
            process.terminate()
    return [
        subprocess.CompletedProcess(process.args, process.returncode, "", error)
        for process, error in zip(running, errors, strict=True)
    ]


def test_two_nodes_train_as_one_process_and_resume_after_the_loss_of_one(
    nodes: tuple[str, ...], root: Path
) -> None:
    main(training(root, "one", nodes=1))
    other, lost = in_two_nodes(root, training(root, "two", nodes=2))
    assert lost.returncode == -signal.SIGKILL
    assert other.returncode == 1, other.stderr
    assert "Resume with --ckpt_path last" in other.stderr
    left = torch.load(root / "two" / "checkpoints" / "last.ckpt", weights_only=True)
    assert left["global_step"] == BATCHES + 2  # in the middle of the second epoch
    resumed = in_two_nodes(root, [*training(root, "two", nodes=2), "--ckpt_path=last"])
    assert [node.returncode for node in resumed] == [0, 0], resumed[0].stderr
    one, two = (read_curves(root / run)["train/loss"] for run in ("one", "two"))
    assert one[:, 0].tolist() == list(range(EPOCHS * BATCHES))
    np.testing.assert_allclose(two, one, atol=1e-5)
