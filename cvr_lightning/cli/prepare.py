"""``cvr prepare``: parses options, prints a summary, returns an exit status."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import get_args

from cvr_lightning.cli.arguments import add_machines, described, frame_side, frame_size, gop_length
from cvr_lightning.codec.prepared.recipe import Recipe
from cvr_lightning.errors import INTERRUPTED
from cvr_lightning.files.pool import usable_cores
from cvr_lightning.files.printable import counted, shown
from cvr_lightning.tools.prepare.estimate import estimate
from cvr_lightning.tools.prepare.row import Row, Status
from cvr_lightning.tools.prepare.run import Plan, make_plan, prepare
from cvr_lightning.tools.prepare.tree import ArrayJob

DESCRIPTION = """\
Re-encode every video of a folder in the usual form of the field: MPEG-4 Part 2 in mp4, 340x256, an I-frame
every 12 frames, no B-frames, quantizer 2, no audio. Videos already in this form are linked. Lists of videos
and labels (csv, json, txt) are copied.

The same command resumes a stopped run. DST/manifest.jsonl lists the result for each video. Exit status: 0 all
prepared, 1 some failed or the run cannot continue, 130 stopped by Ctrl-C."""


def main(arguments: Sequence[str]) -> None:
    """Run ``cvr prepare``."""
    options = _parse(arguments)
    source, destination = options.source, options.destination
    pack = _plan_pack(options)
    recipe = Recipe(None if options.short_side else options.size, options.short_side, options.gop)
    if options.dry_run:
        plan = make_plan(source, destination, recipe, options.job)
        print(shown(_forecast(plan, options.workers or usable_cores())))
        return
    try:
        rows, manifest = prepare(source, destination, recipe, options.workers, options.job, options.ray)
    except KeyboardInterrupt:
        print("cvr prepare: stopped; the same command resumes", file=sys.stderr)
        raise SystemExit(INTERRUPTED) from None
    print(f"{counted(len(rows), 'video')}: {_counts(rows)}")
    print(shown(f"manifest: {manifest or 'written when the other jobs are done'}"))
    if pack is not None:
        pack()
    failed = sum(row.status == "failed" for row in rows)
    if failed:
        print(f"cvr prepare: {failed} of {counted(len(rows), 'video')} failed, see above", file=sys.stderr)
        raise SystemExit(1)


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = described("cvr prepare", DESCRIPTION)
    parser.add_argument("source", type=Path, metavar="SRC", help="folder of videos, searched to any depth")
    parser.add_argument("destination", type=Path, metavar="DST", help="folder to write, outside SRC")
    _add_recipe(parser)
    add_machines(parser, "processes", "process the I-th of N equal subsets of the videos, I from 1")
    parser.add_argument(
        "--dry-run", action="store_true", help="write nothing; try a few videos and estimate the total"
    )
    parser.add_argument(
        "--pack",
        nargs=argparse.REMAINDER,
        metavar="SHARDS --data NAME",
        help="then write the data set in DST into tar files; takes the arguments of cvr pack, must come last",
    )
    options = parser.parse_args(arguments)
    if options.pack is not None and not any(word.startswith("--data") for word in options.pack[1:]):
        parser.error("--pack takes a folder and a data set: --pack SHARDS --data NAME")
    if options.pack is not None and options.job != ArrayJob():
        parser.error("--pack needs all videos: run cvr pack once all jobs of the array are done")
    return options


def _add_recipe(parser: argparse.ArgumentParser) -> None:
    """Add the options of the form to write."""
    form = parser.add_mutually_exclusive_group()
    form.add_argument(
        "--size",
        type=frame_size,
        default=(340, 256),
        metavar="WxH",
        help="size in pixels (default: 340x256)",
    )
    form.add_argument(
        "--short-side",
        type=frame_side,
        metavar="N",
        help="keep the aspect: the shorter side gets N pixels, the other is rounded to an even number",
    )
    parser.add_argument(
        "--gop",
        type=gop_length,
        default=12,
        metavar="N",
        help="frames from an I-frame to the next (default: 12)",
    )


def _plan_pack(options: argparse.Namespace) -> Callable[[], None] | None:
    """Check the arguments of ``cvr pack`` before the work; None without --pack."""
    if options.pack is None:
        return None
    from cvr_lightning.cli.pack import plan  # imports the trainer

    return plan([*options.pack, f"--data.root={options.destination}"])


def _forecast(plan: Plan, workers: int) -> str:
    """Describe what a run would do."""
    tree, left = plan.tree, len(plan.pending)
    result = estimate(plan, workers)
    return "\n".join(
        [
            f"{plan.source}: {counted(len(tree.videos), 'video')}; "
            f"lists to copy along: {len(tree.annotations)}",
            *([str(tree.left_out)] if tree.left_out else []),
            f"{plan.destination}: {len(plan.done)} of this run's {len(plan.own)} are done, {left} remain",
            f"tried {len(result.rows)} of those: {_counts(result.rows)}",
            f"estimate for all: {timedelta(seconds=round(result.seconds))} on {counted(workers, 'worker')}, "
            f"{result.bytes / 1e6:.0f} MB",
            *(f"failed: {row.error}" for row in result.rows if row.error),
        ]
    )


def _counts(rows: Iterable[Row]) -> str:
    """For example ``160 encoded, 6 linked, 2 failed``."""
    counts = Counter(row.status for row in rows)
    return ", ".join(f"{counts[status]} {status}" for status in get_args(Status) if counts[status]) or "none"
