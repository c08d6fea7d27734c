"""Options of a labeling run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from cvr_lightning.files.left_out import LeftOut
from cvr_lightning.inference.labeling.sources import Entry, expand
from cvr_lightning.inference.labeling.table import COLUMNS, Columns


@dataclass(frozen=True)
class Options:
    """Options of a run.

    Attributes:
        sources: Files, folders, lists, globs, tar files or URLs.
        output: The table; its suffix chooses the format.
        columns: What a row holds.
        batch_size: Videos in a block.
        workers: Reading processes; all cores by default. With Ray, blocks at once; all CPUs of the cluster
            by default.
        job: Which of several jobs this is, counted from 1, and their number.
        every: Label parts of so many seconds instead of whole videos.
        device: Where the model runs on a Ray cluster; ``auto`` is its GPUs if it has any.
        ray: Address of a Ray cluster that reads and scores instead of this machine.
    """

    sources: tuple[str, ...]
    output: Path
    columns: Columns = COLUMNS
    batch_size: int = 8
    workers: int | None = None
    job: tuple[int, int] = (1, 1)
    every: float | None = None
    device: str = "auto"
    ray: str | None = None

    @property
    def size(self) -> int:
        """Videos of a block; one that is labeled in parts fills a block."""
        return self.batch_size if self.every is None else 1

    @property
    def table(self) -> Path:
        """The output of this job."""
        number, count = self.job
        if count == 1:
            return self.output
        return self.output.with_stem(f"{self.output.stem}-{number:05d}-of-{count:05d}")

    def entries(self, left_out: LeftOut | None = None) -> Iterator[Entry]:
        """The videos of this job; ``left_out`` records other files in folders."""
        return islice(expand(self.sources, left_out), self.job[0] - 1, None, self.job[1])
