"""Command line and output shared by the sections that print a page."""

from __future__ import annotations

import argparse
import inspect
import shlex
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from machine import heading

from cvr_lightning.files.atomic import atomic_path


def arguments(section: str, description: str | None) -> argparse.ArgumentParser:
    """A parser with the options of every section."""
    parser = argparse.ArgumentParser(
        prog=f"bench.py --sections {section}",
        description=inspect.cleandoc(description or ""),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--output", type=Path, help="also write the page to this file")
    return parser


def publish(
    output: Path | None, title: str, packages: Sequence[str], protocol: str, lines: Iterable[str]
) -> None:
    """Print a page: the command, the title, date, machine, versions and protocol, then the results."""
    command = f"<!-- python benchmarks/bench.py {shlex.join(sys.argv[1:])} -->"
    text = "\n".join([command, heading(title, packages, protocol), "", *lines])
    print(text)
    if output is not None:
        with atomic_path(output) as unfinished:
            unfinished.write_text(text + "\n", encoding="utf-8")
