"""The processes of a run, and detecting which one died."""

from __future__ import annotations

import os
import re
import socket
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import torch.distributed

PATIENCE_S = 2.0
"""Seconds to look for a dead process, whose connections close slightly before it ends."""
PERIOD_S = 5.0
"""Seconds between checks that the parent process is alive."""


@dataclass(frozen=True)
class Peers:
    """Host and process id of each process by rank.

    Attributes:
        rank: Rank of this process.
        processes: (host, process id) of each.
    """

    rank: int
    processes: list[tuple[str, int]]

    @classmethod
    def gather(cls) -> Peers:
        """Gather from all processes; a collective operation."""
        processes: list[tuple[str, int]] = [("", 0)] * torch.distributed.get_world_size()
        torch.distributed.all_gather_object(processes, (socket.gethostname(), os.getpid()))
        return cls(torch.distributed.get_rank(), processes)

    def end_with_parent(self, finished: threading.Event) -> None:
        """End this process if its parent, another process of the run, dies before all have finished.

        Launchers such as torchrun supervise their processes. Processes started by process 0 would otherwise
        wait until the time limit of the process group.
        """
        parent = os.getppid()
        if (socket.gethostname(), parent) in self.processes:
            threading.Thread(target=_end_without, args=(parent, self.rank, finished), daemon=True).start()

    def describe_loss(self, error: BaseException) -> str:
        """Name the process that died, if known, and how to continue."""
        gone = self._gone()
        if gone:
            who = " and ".join(
                f"process {rank} (pid {self.processes[rank][1]} on {self.processes[rank][0]})"
                for rank in gone
            )
            who += " has died" if len(gone) == 1 else " have died"
        else:
            who = "the connection to another process was lost (on another machine, or still ending)"
        reason = re.sub(r"^\[\S+\] ", "", str(error)).split(". ")[0]
        return (
            f"{who}; process {self.rank} of {len(self.processes)} ends too. A process that was killed, "
            "for example for lack of memory, logs nothing; other errors are in its own log. "
            f"Resume with --ckpt_path last. ({reason})"
        )

    def _gone(self) -> list[int]:
        """Ranks of dead processes on this host."""
        here = socket.gethostname()
        deadline = time.monotonic() + PATIENCE_S
        while True:
            gone = [
                rank
                for rank, (host, pid) in enumerate(self.processes)
                if host == here and rank != self.rank and not _runs(pid)
            ]
            if gone or time.monotonic() > deadline:
                return gone
            time.sleep(0.05)


def is_lost_connection(error: BaseException) -> bool:
    """Whether an error is that of a collective operation that lost its peer."""
    if isinstance(error, torch.distributed.DistNetworkError | torch.distributed.DistBackendError):
        return True
    text = str(error)
    return isinstance(error, RuntimeError) and ("gloo" in text or "Connection" in text) and "peer" in text


def _end_without(parent: int, rank: int, finished: threading.Event) -> None:
    while os.getppid() == parent:
        if finished.wait(PERIOD_S):
            return
    print(f"cvr: process {rank} ends: its parent (pid {parent}) has died", file=sys.stderr)
    os._exit(1)  # exceptions cannot interrupt a collective in the main thread


def _runs(pid: int) -> bool:
    """Whether a process of this host is alive; zombies are not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    status = Path(f"/proc/{pid}/stat")
    try:
        return status.read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:  # not Linux, or it just ended
        return not Path("/proc/self").exists()
