"""``cvr label``: a table of labels for any number of videos."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from cvr_lightning.cli.arguments import add_machines, at_least_one, described, seconds
from cvr_lightning.cli.compute import add_compute, compute_on
from cvr_lightning.files.printable import counted, shown

DESCRIPTION = """\
Label any number of videos with a trained model, into one table. Each SOURCE is a video, a folder, a glob, a
list (.txt or .lst, one file or URL per line), a tar file of videos, or a URL (http://, s3://, ...). Files
that no parser reads are prepared in memory. A video that cannot be read is a row with its cause.

The same command resumes a stopped run. Exit status: 0 all labeled, 1 some could not be read or the run
cannot continue, 130 stopped by Ctrl-C."""


def main(arguments: Sequence[str]) -> None:
    """Run ``cvr label``."""
    options = _parse(arguments)
    from cvr_lightning.errors import INTERRUPTED
    from cvr_lightning.inference.classify import Classifier
    from cvr_lightning.inference.labeling.options import Options
    from cvr_lightning.inference.labeling.run import label
    from cvr_lightning.inference.labeling.table import Columns

    here = "cpu" if options.ray else options.device  # the machines of a cluster run the model
    device, dtype = compute_on("cvr label", here, options.precision)
    classifier = Classifier.from_checkpoint(options.checkpoint, device)
    classifier.dtype = dtype
    top, spans = min(options.top, len(classifier.class_names)), options.every is not None
    columns = Columns(top, options.scores, options.embeddings, spans)
    job = (options.job.number, options.job.count)
    run = Options(
        tuple(options.sources),
        options.output,
        columns,
        options.batch_size,
        options.workers,
        job,
        options.every,
        options.device,
        options.ray,
    )
    try:
        summary = label(classifier, Path(options.checkpoint), run)
    except KeyboardInterrupt:
        print("cvr label: stopped; the same command resumes", file=sys.stderr)
        raise SystemExit(INTERRUPTED) from None
    what = ("video",) if options.every is None else ("part of a video", "parts of videos")
    if summary.prepared:
        recipe = classifier.sampling.recipe
        prepared = counted(summary.prepared, *what)
        print(f"cvr label: prepared in memory ({recipe}): {prepared}", file=sys.stderr)
    print(shown(f"{summary.rows - summary.failed} of {counted(summary.rows, *what)} labeled: {run.table}"))
    if summary.failed:
        print(f"cvr label: {summary.failed} could not be read, see the column error", file=sys.stderr)
        raise SystemExit(1)


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = described("cvr label", DESCRIPTION)
    parser.add_argument("sources", nargs="+", metavar="SOURCE", help="video, folder, glob, list, tar or URL")
    parser.add_argument("--checkpoint", required=True, metavar="CKPT", help="checkpoint written by cvr fit")
    parser.add_argument(
        "--output", required=True, type=Path, metavar="TABLE", help="file to write: .parquet, .csv or .jsonl"
    )
    parser.add_argument(
        "--top", type=at_least_one, default=5, metavar="K", help="most likely classes to write (default: 5)"
    )
    parser.add_argument(
        "--every", type=seconds, metavar="TIME", help="label parts of this length, such as 10s, 2m or 1h"
    )
    parser.add_argument("--scores", action="store_true", help="write the probability of every class")
    parser.add_argument("--embeddings", action="store_true", help="write the features before the head")
    add_compute(parser)
    parser.add_argument(
        "--batch-size", type=at_least_one, default=8, metavar="N", help="videos scored at once (default: 8)"
    )
    add_machines(parser, "reading processes", "label every N-th video from the I-th on, into TABLE-I-of-N")
    return parser.parse_args(arguments)
