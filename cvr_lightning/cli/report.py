"""``cvr report``: an HTML page about runs."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from cvr_lightning.errors import RunError
from cvr_lightning.files.atomic import write_output
from cvr_lightning.files.printable import shown


def main(arguments: Sequence[str]) -> None:
    """Run ``cvr report``."""
    options = _parse(arguments)
    output = Path(options.output)
    if output.is_dir():
        raise RunError(f"{output}: it is a directory; give --output a file name")
    if output.suffix.lower() not in (".html", ".htm"):  # another file would be lost, such as results.json
        raise RunError(f"{output}: a report is HTML; give --output a name that ends in .html")

    from cvr_lightning.tools.report.page import page
    from cvr_lightning.tools.report.run import Run

    runs = [Run.read(run) for run in options.runs]
    content = page(runs, options.worst)
    write_output(output, content.encode())
    for what in (what for run in runs for what in run.missing):
        print(shown(f"missing: {what}"))
    print(shown(f"Written to {output}"))


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="cvr report",
        description="Write one self-contained HTML page about runs: results, curves, "
        "confusion matrix, classes, cost, worst videos, configuration.",
    )
    parser.add_argument("runs", nargs="+", metavar="RUN", help="run directory")
    parser.add_argument("--output", default="report.html", metavar="HTML", help="page (default: report.html)")
    parser.add_argument(
        "--worst",
        type=_count,
        default=3,
        metavar="N",
        help="videos of each run with the highest loss (default: 3)",
    )
    return parser.parse_args(arguments)


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 9):
        raise argparse.ArgumentTypeError(f"{text!r} must be a whole number, not negative")
    return int(text)
