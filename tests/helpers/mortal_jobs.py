"""Jobs for worker processes, some of which do not survive them. Workers import them by name."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Iterator
from pathlib import Path

from cvr_lightning.datamodules.index_cache import make_record
from cvr_lightning.datamodules.index_store import Record
from cvr_lightning.inference.labeling import blocks
from cvr_lightning.inference.labeling.blocks import Block, How, Reading
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


def collect(number: int) -> int:
    """Collect garbage."""
    gc.collect()
    return number


def prepare_all_but_b(job: Job) -> Row:
    """Prepare a video, unless its name begins with b."""
    if job.name.startswith("b"):
        os.kill(os.getpid(), signal.SIGKILL)
    return prepare_video(job)


def record_all_but(victim: str, death: signal.Signals, job: tuple[Path, str]) -> Record | None:
    """Index a video, unless it is the victim."""
    if job[1] == victim:
        os.kill(os.getpid(), death)
    return make_record(job)


def read_all_but_3(how: How, block: Block) -> Iterator[list[Reading]]:
    """Read a block of videos, unless a name ends with 3."""
    if any(entry.name.endswith("3.avi") for entry in block.entries):
        os.kill(os.getpid(), signal.SIGSEGV)
    return blocks.read_block(how, block)
