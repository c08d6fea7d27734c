"""Worker processes whose crash does not end the others or the run.

Workers are fresh interpreters. A forked process lacks the threads of its parent, but has their locks and the
decoders that they served: freeing such a decoder, it waits for them forever. A process that multiprocessing
spawns imports the main module again, which scripts without a main guard do not survive.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from itertools import islice
from multiprocessing import Pipe, util
from multiprocessing.connection import Connection, wait
from typing import Any, Generic, TypeVar

from cvr_lightning.errors import PrepareError

MAX_DEATHS = 10
"""Consecutive worker deaths after which the run gives up, since then videos are not the cause."""

_CRASHES = (signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGFPE, signal.SIGABRT)
_START = "import sys; sys.path[:] = {}; from cvr_lightning.files.pool import serve; serve({})"

J = TypeVar("J")
R = TypeVar("R")


@dataclass(frozen=True)
class Died:
    """Result of a job whose worker died.

    Attributes:
        exitcode: Of the process; None if several tried the job.
    """

    exitcode: int | None

    @property
    def is_crash(self) -> bool:
        """Whether the job itself crashed the worker, rather than a signal from outside."""
        return self.exitcode is not None and -self.exitcode in _CRASHES

    def __str__(self) -> str:
        if self.exitcode is None:
            return "all processes that tried it died"
        if self.exitcode >= 0:
            return f"its worker process ended with exit code {self.exitcode}"
        name = signal.Signals(-self.exitcode).name
        hint = ", probably out of memory: try fewer workers" if name == "SIGKILL" else ""
        return f"its worker process was killed by {name}{hint}"


@dataclass(frozen=True)
class Part:
    """One of several results of a job, whose last result is None."""

    value: Any


class _Worker(Generic[J, R]):
    """A process that works on one job at a time."""

    def __init__(self, work: Callable[[J], R]) -> None:
        self.connection, far_end = Pipe()
        start = _START.format(sys.path, far_end.fileno())
        command = [sys.executable, *util._args_from_interpreter_flags(), "-c", start]  # type: ignore[attr-defined]
        # Ctrl-C reaches the worker too: blocked from its start, it cannot end the worker with a traceback.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=[far_end.fileno()])
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        far_end.close()  # so the pipe closes when the process ends
        self._send(work)

    def give(self, job: J) -> None:
        self.job = job
        self._send(job)

    def _send(self, value: object) -> None:
        with contextlib.suppress(OSError):  # it has died; take() reports that
            self.connection.send(value)

    def take(self) -> Any:  # R, or an Exception of the job, or Part, or Died
        try:
            return self.connection.recv()
        except (EOFError, OSError):
            return Died(self._process.wait())

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait()
        self.connection.close()


def serve(descriptor: int) -> None:
    """Do jobs until the parent closes its end of the pipe: the whole life of a worker process."""
    connection = Connection(descriptor)
    with contextlib.suppress(EOFError, OSError):  # the parent has ended
        work = connection.recv()
        while True:
            job = connection.recv()
            try:
                result: Any = work(job)
                if isinstance(result, Generator):  # its parts are sent as they come, at the caller's pace
                    for part in result:
                        connection.send(Part(part))
                    result = None
            except Exception as error:
                result = error
            connection.send(result)


def run(
    work: Callable[[J], R], jobs: Iterable[J], workers: int | None = None
) -> Generator[tuple[J, R | Died], None, None]:
    """Run jobs in processes, and yield each with its result as soon as it is done.

    Args:
        work: A function of an importable module; an exception in it ends the run. Of a generator each item
            is yielded as a :class:`Part`, and None at its end.
        jobs: Its arguments.
        workers: Number of processes; all cores by default.

    Raises:
        PrepareError: Several workers died in a row.
    """
    waiting = iter(jobs)
    staff: dict[object, _Worker[J, R]] = {}

    def hire(job: J) -> None:
        worker = _Worker(work)
        staff[worker.connection] = worker
        worker.give(job)

    try:
        for job in islice(waiting, workers or usable_cores()):
            hire(job)
        deaths = 0
        while staff:
            for connection in wait([worker.connection for worker in staff.values()]):
                worker = staff[connection]
                job, result = worker.job, worker.take()
                if isinstance(result, Part):
                    yield job, result  # type: ignore[misc]  # R of a generator
                    continue
                following = next(waiting, None)
                if isinstance(result, Exception):
                    raise result
                deaths = deaths + 1 if isinstance(result, Died) else 0
                if deaths == MAX_DEATHS:
                    raise PrepareError(f"stopped after {deaths} consecutive failures: {result}")
                if isinstance(result, Died) or following is None:
                    staff.pop(connection).stop()
                if following is not None:
                    hire(following) if isinstance(result, Died) else worker.give(following)
                yield job, result
    finally:
        for worker in staff.values():
            worker.stop()


def usable_cores() -> int:
    """Number of CPU cores available to this process."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
