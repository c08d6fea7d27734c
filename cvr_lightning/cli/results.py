"""``cvr results``: compares runs, averages over splits, fuses scores."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import get_args

from cvr_lightning.evaluation.formats import Format, Table

USAGE = """cvr results RUN... [--format {table,csv,latex,json}]
       cvr results RUN... --mean [--format ...]
       cvr results RUN... --fuse [W...] [--averaging {softmax,logits}] [--format ...]"""


def main(arguments: Sequence[str]) -> None:
    """Run ``cvr results``."""
    options = _parse(arguments)
    print(_table(options).render(options.format))


def _table(options: argparse.Namespace) -> Table:
    if options.mean:
        from cvr_lightning.evaluation.average import average, average_table

        return average_table(average(options.runs))
    if options.fuse is not None:
        from cvr_lightning.evaluation.score_fusion import fuse, fusion_table

        return fusion_table(fuse(options.runs, options.fuse, options.averaging or "softmax"))
    from cvr_lightning.evaluation.results import read_results, runs_table

    return runs_table(options.runs, [read_results(run) for run in options.runs])


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="cvr results",
        usage=USAGE,
        description="Print the results of runs side by side.",
    )
    parser.add_argument("runs", nargs="+", metavar="RUN", help="run directory that cvr test wrote to")
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--mean",
        action="store_true",
        help="mean and standard deviation (n - 1) over splits",
    )
    what.add_argument(
        "--fuse",
        nargs="*",
        type=float,
        metavar="W",
        help="score fusion: weighted mean of the runs' scores; one weight per run (default: equal)",
    )
    parser.add_argument(
        "--averaging", choices=("softmax", "logits"), help="what --fuse averages (default: softmax)"
    )
    parser.add_argument("--format", choices=get_args(Format), default="table", help="(default: table)")
    options = parser.parse_args(arguments)
    if options.averaging and options.fuse is None:
        parser.error("--averaging belongs to --fuse; a run was averaged over its views by cvr test")
    return options
