"""A dry run: a few videos prepared in a temporary folder, to tell what all of them will take."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from cvr_lightning.files import pool
from cvr_lightning.tools.prepare.row import Job, Row, file_size
from cvr_lightning.tools.prepare.run import Plan, prepare_video

SAMPLES = 8
"""Videos that are tried, spread over those that are left to do."""


class Trial(NamedTuple):
    """A video that was tried, and the seconds that one worker took for it."""

    row: Row
    seconds: float


class Estimate(NamedTuple):
    """What is left to do.

    Attributes:
        rows: The videos that were tried.
        seconds: Time for all that are left, on all workers.
        bytes: Size of what will be encoded; links take no room.
    """

    rows: list[Row]
    seconds: float
    bytes: float


def estimate(plan: Plan, workers: int) -> Estimate:
    """Try a few of the videos, and scale by the sizes of the sources' files."""
    jobs = plan.pending
    with tempfile.TemporaryDirectory() as folder:
        sample = [job._replace(destination=Path(folder)) for job in jobs[:: -(-len(jobs) // SAMPLES) or 1]]
        trials = [result for _, result in pool.run(_try, sample, workers) if isinstance(result, Trial)]
    rows = [trial.row for trial in trials]
    tried = sum(row.source_bytes for row in rows)
    share = sum(file_size(job.source / job.name) for job in jobs) / tried if tried else 0.0
    seconds = share * sum(trial.seconds for trial in trials) / workers
    return Estimate(rows, seconds, share * sum(row.bytes for row in rows if row.status == "encoded"))


def _try(job: Job) -> Trial:
    prepare_video(job)  # the first video of a worker waits for compiled kernels
    start = time.perf_counter()
    row = prepare_video(job)
    return Trial(row, time.perf_counter() - start)
