"""Jobs for worker processes, some of which do not survive them. Workers import them by name."""

from __future__ import annotations

import os
import signal

from cvr_lightning.tools.prepare.row import Job, Row
from cvr_lightning.tools.prepare.video import prepare_video


def double(number: int) -> int:
    """Die of the number 3, exit on 4, raise on 5."""
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    if number == 4:
        os._exit(7)
    if number == 5:
        raise ArithmeticError("no five")
    return 2 * number


def prepare_all_but_b(job: Job) -> Row:
    """Prepare a video, unless its name begins with b."""
    if job.name.startswith("b"):
        os.kill(os.getpid(), signal.SIGKILL)
    return prepare_video(job)
