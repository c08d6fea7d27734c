"""A Ray cluster of two nodes on loopback, each with one CPU."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
COMMON = ["--num-cpus=1", "--object-store-memory=100000000", "--node-ip-address=127.0.0.1", "--block"]


class Cluster(NamedTuple):
    """A running cluster.

    Attributes:
        address: Of its head.
        head: Process of ``ray start --head``.
        second: Process of the other ``ray start``.
    """

    address: str
    head: subprocess.Popen[bytes]
    second: subprocess.Popen[bytes]


@contextlib.contextmanager
def two_nodes() -> Iterator[Cluster]:
    """Start both nodes, and end every process of theirs."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    address = f"127.0.0.1:{port}"
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="ray") as folder:  # sockets have short paths
        head = _start(
            "--head", f"--port={port}", f"--temp-dir={folder}", "--include-dashboard=false", ports=21000
        )
        second = None
        try:
            _wait(address, 1, head)
            second = _start(f"--address={address}", ports=22000)
            _wait(address, 2, second)
            yield Cluster(address, head, second)
        finally:
            for node in filter(None, (second, head)):
                end(node)


def _start(*arguments: str, ports: int) -> subprocess.Popen[bytes]:
    workers = [f"--min-worker-port={ports}", f"--max-worker-port={ports + 99}"]
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", *arguments, *COMMON, *workers]
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")])
    own = {"PYTHONPATH": paths, "RAY_USAGE_STATS_ENABLED": "0", "OMP_NUM_THREADS": "1"}
    own["RAY_worker_niceness"] = "0"  # by default workers starve beside other programs
    quiet = subprocess.DEVNULL
    return subprocess.Popen(command, env={**os.environ, **own}, stdout=quiet, stderr=quiet)


def _wait(address: str, nodes: int, process: subprocess.Popen[bytes]) -> None:
    """Wait until so many nodes are alive."""
    import ray

    deadline = time.monotonic() + 180
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(ConnectionError, RuntimeError, ValueError):
            ray.init(address=address, log_to_driver=False, logging_level="error")
            if sum(node["Alive"] for node in ray.nodes()) == nodes:
                ray.shutdown()
                return
        ray.shutdown()
        time.sleep(0.5)
    raise TimeoutError(f"node {nodes} of the Ray cluster did not start")


def end(node: subprocess.Popen[bytes]) -> None:
    """Kill all processes of a node."""
    for process in [*descendants(node.pid), node.pid]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    node.wait()


def kill_a_worker(node: subprocess.Popen[bytes]) -> bool:
    """Kill a process of a node that is at work on a job; False if there is none."""
    for process in descendants(node.pid):
        if b"ray::_call" in _read(process, "cmdline"):
            os.kill(process, signal.SIGKILL)
            return True
    return False


def descendants(pid: int) -> list[int]:
    """All processes below one."""
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*"):
        fields = _read(int(path.name), "stat").rpartition(b")")[2].split()
        if fields:
            children.setdefault(int(fields[1]), []).append(int(path.name))
    found = list(children.get(pid, []))
    for child in found:
        found += children.get(child, [])
    return found


def _read(pid: int, name: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:  # it has ended
        return b""
