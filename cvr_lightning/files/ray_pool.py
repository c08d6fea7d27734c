"""The jobs of :mod:`.pool` on a Ray cluster, which schedules them and repeats those of dead workers."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Generator, Iterable, Iterator
from itertools import islice
from typing import Any, TypeVar

from cvr_lightning.errors import PrepareError, RunError, cause_of
from cvr_lightning.files.pool import MAX_DEATHS, Died

RETRIES = 3
"""Times that Ray repeats a job whose worker or node died."""

J = TypeVar("J")
R = TypeVar("R")


@contextlib.contextmanager
def cluster(address: str) -> Iterator[None]:
    """Connect to a running Ray cluster.

    Args:
        address: ``host:port`` of its head, or ``auto`` for the cluster that this machine belongs to.

    Raises:
        RunError: Ray is not installed, or there is no cluster.
    """
    try:
        import ray
    except ImportError as error:
        raise RunError("--ray needs Ray: pip install 'cvr-lightning[ray]'") from error
    try:
        if address != "auto":
            _check(address)
        ray.init(address=address, log_to_driver=False, logging_level="warning")
    except (OSError, ValueError, RuntimeError) as error:
        raise RunError(
            f"--ray {address}: no Ray cluster answers ({cause_of(error)}); start one by: ray start --head"
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


def _check(address: str) -> None:
    """Connect to an address, for which Ray itself would wait minutes.

    Raises:
        OSError: Nothing answers.
        ValueError: It is not ``host:port``.
    """
    host, _, port = address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=10):
        pass


def run(
    work: Callable[[J], R], jobs: Iterable[J], most: int | None = None, gpus: bool = False
) -> Generator[tuple[J, R | Died], None, None]:
    """Run jobs on the cluster, each on one CPU, and yield each with its result as soon as it is done.

    Args:
        work: A module-level function; an exception in it ends the run.
        jobs: Its arguments; taken as the cluster has room for them.
        most: Jobs at once; by default, all CPUs are kept busy.
        gpus: Share the cluster's GPUs evenly among its CPUs, so a job sees one.

    Raises:
        PrepareError: Several jobs in a row lost all workers that tried them.
    """
    import ray

    remote = ray.remote(num_cpus=1, num_gpus=_gpu_fraction() if gpus else 0, max_retries=RETRIES)(_call)
    waiting = iter(jobs)
    running: dict[Any, J] = {}
    deaths = 0
    try:
        while True:
            for job in islice(waiting, max(0, (most or 2 * _cpus()) - len(running))):
                running[remote.remote(work, job)] = job
            if not running:
                return
            (done, *_), _ = ray.wait(list(running))
            job, result = running.pop(done), _result(done)
            deaths = deaths + 1 if isinstance(result, Died) else 0
            if deaths == MAX_DEATHS:
                raise PrepareError(f"stopped after {deaths} consecutive failures: {result}")
            yield job, result
    finally:
        for unfinished in running:
            ray.cancel(unfinished, force=True)


def _call(work: Callable[[J], R], job: J) -> R:
    return work(job)


def _cpus() -> int:
    """CPUs of the cluster, which may grow and shrink."""
    import ray

    return max(1, int(ray.cluster_resources().get("CPU", 0)))


def _gpu_fraction() -> float:
    """Fraction of a GPU for each CPU.

    Raises:
        RunError: The cluster has no GPU.
    """
    import ray

    gpus = ray.cluster_resources().get("GPU", 0)
    if not gpus:
        raise RunError("the Ray cluster has no GPU: leave out --device")
    return max(1e-4, float(int(min(1, gpus / _cpus()) * 1e4)) / 1e4)  # Ray takes four decimals


def _result(done: Any) -> Any:
    import ray

    try:
        return ray.get(done)
    except ray.exceptions.RayTaskError as error:  # raised by the job itself
        raise error.cause from None
    except ray.exceptions.RayError:  # the last retry lost its worker or its node too
        return Died(None)
