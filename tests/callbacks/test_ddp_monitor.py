"""Metrics and messages about many processes, without starting them."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning.pytorch.strategies import FSDPStrategy
from torch import nn

from cvr_lightning.callbacks import DDPMonitor
from cvr_lightning.callbacks.gradients import unused_parameters
from cvr_lightning.callbacks.peers import Peers, is_lost_connection
from cvr_lightning.errors import RunError

ROOT = Path(__file__).resolve().parents[2]


def monitor(**options: float) -> DDPMonitor:
    """One whose run has begun."""
    watching = DDPMonitor(**options)  # type: ignore[arg-type]
    watching._warned, watching._slow, watching._logged_step = set(), (), 0
    return watching


def table(*rows: tuple[float, float, float, float]) -> torch.Tensor:
    """Step, wait, forward pass and gradient norm of each process."""
    return torch.tensor(rows)


def test_the_metrics_are_those_of_the_processes() -> None:
    rows = table((1.0, 0.1, 0.2, 5.0), (1.0, 0.2, 0.4, 4.0), (1.0, 0.1, 0.3, 5.0))
    figures = monitor(slow=10.0, spread=1.0, per_process=2)._metrics(rows)
    assert figures["vitals/processes/forward_s/0"] == pytest.approx(0.2)
    assert figures["vitals/processes/forward_s/mean"] == pytest.approx(0.3)
    assert figures["vitals/processes/data_wait_s/max"] == pytest.approx(0.2)
    assert "vitals/processes/step_s/2" not in figures  # beyond per_process
    assert figures["vitals/processes/slowest"] == 1
    assert figures["vitals/processes/slowdown"] == pytest.approx(0.6 / 0.3)  # lower median of 0.3 and 0.4
    assert figures["vitals/processes/gradient_norm_spread"] == pytest.approx(0.2)


@pytest.mark.parametrize(("wait", "remedy"), [(0.9, "more num_workers"), (0.1, "check its device")])
def test_a_process_that_stays_slow_is_named_once(
    wait: float, remedy: str, recwarn: pytest.WarningsRecorder
) -> None:
    watching = monitor()
    for _ in range(2):
        watching._metrics(table((2.0, 0.1, 0.2, 1.0), (2.0, wait, 1.0 - wait, 1.0)))
    assert not recwarn.list
    for _ in range(4):
        watching._metrics(table((2.0, 0.1, 0.2, 1.0), (2.0, wait, 1.0 - wait, 1.0)))
    (warning,) = recwarn.list
    assert str(warning.message).startswith("process 1 delays the others: 3.3 times their median")
    assert remedy in str(warning.message)


def test_a_step_of_several_batches_is_logged_once(monkeypatch: pytest.MonkeyPatch) -> None:
    watching = monitor()
    monkeypatch.setattr(watching, "_clock", lambda *_: 0.0)
    logged: list[int] = []
    strategy = SimpleNamespace(reduce=lambda table, reduce_op: table)
    trainer: Any = SimpleNamespace(
        world_size=2, global_rank=0, global_step=0, log_every_n_steps=1, strategy=strategy
    )
    module: Any = SimpleNamespace(
        device=torch.device("cpu"), log_dict=lambda _: logged.append(trainer.global_step)
    )
    watching._restart()
    for trainer.global_step in (0, 0, 1, 1, 1, 2):  # after each batch; three make a step
        watching.on_train_batch_start(trainer, module, None, 0)
        watching.on_train_batch_end(trainer, module, None, None, 0)
    assert logged == [1, 2]


def test_gradients_that_differ_cause_a_warning(recwarn: pytest.WarningsRecorder) -> None:
    monitor()._metrics(table((1.0, 0.1, 0.2, 5.0), (1.0, 0.1, 0.2, 4.0)))
    (warning,) = recwarn.list
    assert "differ by 20 %: 5, 4." in str(warning.message)


def test_a_strategy_that_splits_the_model_is_refused() -> None:
    class Fake:
        strategy = FSDPStrategy()

    with pytest.raises(RunError, match=r"FSDPStrategy shards the model.* Set --trainer\.strategy ddp"):
        DDPMonitor().setup(Fake(), nn.Module(), "fit")  # type: ignore[arg-type]


def test_parameters_that_a_loss_does_not_depend_on_are_found_without_a_gradient() -> None:
    model = nn.ModuleDict({name: nn.Linear(2, 2) for name in ("used", "frozen", "detached", "idle")})
    model["frozen"].requires_grad_(False)
    hidden = model["used"](torch.ones(1, 2)) + model["detached"](torch.ones(1, 2)).detach()
    loss = model["frozen"](hidden).sum()
    assert unused_parameters(model, loss) == ["detached.weight", "detached.bias", "idle.weight", "idle.bias"]
    assert all(parameter.grad is None for parameter in model.parameters())


LOST = RuntimeError(
    "[/x/gloo/pair.cc:537] Read error [127.0.0.1]:406: Connection reset by peer. This is typically"
)


def test_a_process_that_has_died_is_named() -> None:
    died = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, died.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and nobody has asked how
    here = socket.gethostname()
    peers = Peers(0, [(here, os.getpid()), (here, os.getppid()), (here, died.pid), ("elsewhere", died.pid)])
    message = peers.describe_loss(LOST)
    assert message.startswith(f"process 2 (pid {died.pid} on {here}) has died; process 0 of 4 ends too.")
    assert message.endswith("(Read error [127.0.0.1]:406: Connection reset by peer)")
    died.wait()


@pytest.mark.parametrize(
    ("error", "is_lost"),
    [
        (LOST, True),
        (torch.distributed.DistBackendError("NCCL error"), True),
        (RuntimeError("shapes differ"), False),
        (ValueError("Connection reset by peer"), False),
    ],
)
def test_a_lost_connection_is_distinguished_from_other_errors(error: Exception, is_lost: bool) -> None:
    assert is_lost_connection(error) == is_lost


ORPHAN = """
import os, socket, subprocess, sys, threading
from cvr_lightning.callbacks import peers

if len(sys.argv) == 1:
    child = subprocess.Popen([sys.executable, __file__, "child"], stdout=subprocess.PIPE)
    child.stdout.readline()
    os.kill(os.getpid(), 9)
peers.PERIOD_S = 0.05
here = socket.gethostname()
peers.Peers(1, [(here, os.getppid()), (here, os.getpid())]).end_with_parent(threading.Event())
print("watching", flush=True)
threading.Event().wait(60)
"""


def test_a_process_ends_with_the_one_that_started_it(tmp_path: Path) -> None:
    script = tmp_path / "orphan.py"
    script.write_text(ORPHAN)
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    # The child inherits stderr, so this returns when the child has ended as well.
    done = subprocess.run(
        [sys.executable, str(script)], env=env, stderr=subprocess.PIPE, text=True, timeout=50
    )
    assert done.returncode == -9
    assert re.search(r"cvr: process 1 ends: its parent \(pid \d+\) has died", done.stderr)
