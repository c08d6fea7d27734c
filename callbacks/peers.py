"""The processes of a run, and which of them is no more."""

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
"""How long a lost process is looked for: its connections close a moment before it is gone."""
PERIOD_S = 5.0
"""How often a process looks whether the one that started it still runs."""


@dataclass(frozen=True)
class Peers:
    """Host and process id of each process, in the order of their ranks.

    Attributes:
        rank: That of this process.
        processes: (host, process id) of each.
    """

    rank: int
    processes: list[tuple[str, int]]

    @classmethod
    def gather(cls) -> Peers:
        """Ask all processes; each must take part."""
        processes: list[tuple[str, int]] = [("", 0)] * torch.distributed.get_world_size()
        torch.distributed.all_gather_object(processes, (socket.gethostname(), os.getpid()))
        return cls(torch.distributed.get_rank(), processes)

    def end_with_parent(self, finished: threading.Event) -> None:
        """End this process where the one that started it, another of the run, dies before all is finished.

        A launcher of its own, such as torchrun, looks after its processes. Those that process 0 started would
        otherwise wait for it until the time limit of the process group.
        """
        parent = os.getppid()
        if (socket.gethostname(), parent) in self.processes:
            threading.Thread(target=_end_without, args=(parent, self.rank, finished), daemon=True).start()

    def describe_loss(self, error: BaseException) -> str:
        """Which process has died, as far as it can be told from here, and how to go on."""
        gone = self._gone()
        if gone:
            who = " and ".join(
                f"process {rank} (pid {self.processes[rank][1]} on {self.processes[rank][0]})"
                for rank in gone
            )
            who += " has died" if len(gone) == 1 else " have died"
        else:
            who = "the connection to another process is lost, on another machine or still ending"
        reason = re.sub(r"^\[\S+\] ", "", str(error)).split(". ")[0]
        return (
            f"{who}; process {self.rank} of {len(self.processes)} ends too. One that was killed, from "
            "outside or for want of memory, says nothing itself; any other error stands in its own log. "
            f"Resume with --ckpt_path last. ({reason})"
        )

    def _gone(self) -> list[int]:
        """Ranks on this host whose process is no more."""
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
    """Whether an error is that of a collective whose other side is no more."""
    if isinstance(error, torch.distributed.DistNetworkError | torch.distributed.DistBackendError):
        return True
    text = str(error)
    return isinstance(error, RuntimeError) and ("gloo" in text or "Connection" in text) and "peer" in text


def _end_without(parent: int, rank: int, finished: threading.Event) -> None:
    while os.getppid() == parent:
        if finished.wait(PERIOD_S):
            return
    print(f"cvr: process {rank} ends: the one that started it (pid {parent}) has died", file=sys.stderr)
    os._exit(1)  # the main thread may be inside a collective, which no exception reaches


def _runs(pid: int) -> bool:
    """Whether a process of this host exists and has not ended, be it that nobody has noticed yet."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    status = Path(f"/proc/{pid}/stat")
    try:
        return status.read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:  # no such system, or gone since
        return not Path("/proc/self").exists()
