"""Dry run: prepares a few videos in a temporary folder to estimate the total time and size."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from cvr_lightning.files import pool
from cvr_lightning.tools.prepare.row import Job, Row, file_size
from cvr_lightning.tools.prepare.run import Plan, prepare_video

SAMPLES = 8
"""Number of sample videos, evenly spread over the pending ones."""


class Trial(NamedTuple):
    """A sample video, and the seconds that one worker took for it."""

    row: Row
    seconds: float


class Estimate(NamedTuple):
    """Estimate for the pending videos.

    Attributes:
        rows: The sample videos.
        seconds: Time for all pending videos, with all workers.
        bytes: Total size of the encoded videos; hard links take no space.
    """

    rows: list[Row]
    seconds: float
    bytes: float


def estimate(plan: Plan, workers: int) -> Estimate:
    """Prepare sample videos and extrapolate by source file size."""
    jobs = plan.pending
    with tempfile.TemporaryDirectory() as folder:
        sample = [job._replace(destination=Path(folder)) for job in jobs[:: -(-len(jobs) // SAMPLES) or 1]]
        trials = [result for _, result in pool.run(_try, sample, workers) if isinstance(result, Trial)]
    rows = [trial.row for trial in trials]
    tried = sum(row.source_bytes for row in rows)
    fraction = sum(file_size(job.source / job.name) for job in jobs) / tried if tried else 0.0
    seconds = fraction * sum(trial.seconds for trial in trials) / workers
    return Estimate(rows, seconds, fraction * sum(row.bytes for row in rows if row.status == "encoded"))


def _try(job: Job) -> Trial:
    prepare_video(job)  # warm-up: the first video of a worker loads compiled kernels
    start = time.perf_counter()
    row = prepare_video(job)
    return Trial(row, time.perf_counter() - start)
