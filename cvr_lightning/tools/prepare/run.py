"""One run over a folder: pending videos are prepared in worker processes and recorded as they finish."""

from __future__ import annotations

import contextlib
import filecmp
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from cvr_lightning.codec.prepared.recipe import Recipe
from cvr_lightning.errors import PrepareError
from cvr_lightning.files import pool, ray_pool
from cvr_lightning.files.atomic import atomic_path
from cvr_lightning.files.printable import shown
from cvr_lightning.tools.prepare import journal
from cvr_lightning.tools.prepare.row import Job, Row, file_size
from cvr_lightning.tools.prepare.tree import ArrayJob, Tree, read_tree


@dataclass(frozen=True)
class Plan:
    """Work of one run.

    Attributes:
        source: Folder of the videos.
        destination: Folder that is written.
        recipe: The format to produce.
        tree: Contents of ``source``.
        own: The videos of this job.
        done: Rows of the videos that earlier runs have finished.
    """

    source: Path
    destination: Path
    recipe: Recipe
    tree: Tree
    own: tuple[str, ...]
    done: dict[str, Row]

    @property
    def pending(self) -> list[Job]:
        """The videos not yet prepared."""
        names = (name for name in self.own if name not in self.done)
        return [Job(self.source, self.destination, name, self.recipe) for name in names]


def make_plan(source: Path, destination: Path, recipe: Recipe, job: ArrayJob) -> Plan:
    """Compare both folders without writing.

    Raises:
        PrepareError: The folders overlap, or hold something else.
    """
    inner, outer = destination.resolve(), source.resolve()
    if inner == outer or outer in inner.parents:
        raise PrepareError(f"{destination} is inside {source}, which is never changed: give another folder")
    tree = read_tree(source)
    journal.check_recipe(destination, recipe)
    rows, own = journal.read_rows(destination), job.of(tree.videos)
    done = {name: rows[name] for name in own if journal.is_done(rows.get(name), source, destination)}
    return Plan(source, destination, recipe, tree, own, done)


def prepare(
    source: Path,
    destination: Path,
    recipe: Recipe,
    workers: int | None,
    job: ArrayJob,
    ray: str | None = None,
) -> tuple[list[Row], Path | None]:
    """Prepare the videos of one job; an interrupted run is continued.

    Args:
        source: Folder of the videos.
        destination: Folder to write.
        recipe: The format to produce.
        workers: Processes; all cores by default. With Ray, videos at once; by default all its CPUs.
        job: Which of several jobs this is.
        ray: Address of a Ray cluster that does the work; its machines share both folders.

    Returns:
        The rows of the job, and the path of the manifest if all jobs are complete, else None.

    Raises:
        PrepareError: The folders cannot be used, the disk is full, or worker processes keep dying.
    """
    plan = make_plan(source, destination, recipe, job)
    if plan.tree.left_out:
        print(shown(f"{source}: {plan.tree.left_out}"), file=sys.stderr)
    journal.claim(destination, recipe)
    with journal.Journal(destination, job) as finished:
        leftovers = None if job.count == 1 else plan.own  # other jobs may be writing theirs
        journal.remove_unfinished(destination, leftovers)
        if job.number == 1:
            _copy_annotations(plan)
        try:
            rows = plan.done | _prepare_pending(plan, finished, workers, ray)
        finally:  # of workers that were stopped or died within a video
            journal.remove_unfinished(destination, leftovers)
    rows_of_all = journal.read_rows(destination) | rows
    missing = [name for name in plan.tree.videos if name not in rows_of_all]
    manifest = None
    if not missing:
        manifest = journal.write_manifest(destination, [rows_of_all[name] for name in plan.tree.videos])
    return [rows[name] for name in plan.own], manifest


def prepare_video(job: Job) -> Row:
    """Call :func:`.video.prepare_video`; imported here because only worker processes need it."""
    from cvr_lightning.tools.prepare import video

    return video.prepare_video(job)


def _prepare_pending(
    plan: Plan, finished: journal.Journal, workers: int | None, ray: str | None
) -> dict[str, Row]:
    """Prepare the pending videos; returns their rows."""
    rows = {}
    run = pool.run if ray is None else ray_pool.run
    bar = tqdm(total=len(plan.own), initial=len(plan.done), desc="prepare", unit="video", smoothing=0.05)
    with (
        contextlib.nullcontext() if ray is None else ray_pool.cluster(ray),
        contextlib.closing(run(prepare_video, plan.pending, workers)) as results,
        bar,
    ):
        for job, result in results:
            row = result if isinstance(result, Row) else _failed_row(job, result)
            finished.append(row)
            rows[job.name] = row
            if row.error:
                bar.write(shown(f"failed: {row.error}"), file=sys.stderr)
            bar.update()
    return rows


def _failed_row(job: Job, end: pool.Died) -> Row:
    return Row(job.name, source_bytes=file_size(job.source / job.name), error=f"{job.name}: {end}")


def _copy_annotations(plan: Plan) -> None:
    """Copy, not link: editing the copy must not change the original."""
    for name in plan.tree.annotations:
        original, copy = plan.source / name, plan.destination / name
        if not (copy.is_file() and filecmp.cmp(original, copy, shallow=False)):
            with atomic_path(copy) as unfinished:
                shutil.copyfile(original, unfinished)
