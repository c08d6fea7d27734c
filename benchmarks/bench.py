"""Runs benchmarks by section.

Without ``--sections``, or with a comma-separated list of comparison sections, writes one report that compares
the package with other libraries (`make bench`). Any other section prints a page of its own.

    python benchmarks/bench.py [CLIP...]
    python benchmarks/bench.py --sections reading,lengths --original CLIP...
    python benchmarks/bench.py --sections streaming CLIP --output docs/benchmarks/DATE-streaming.md
"""

from __future__ import annotations

import importlib
import sys

PAGES = (
    "callbacks",
    "frames",
    "indexing",
    "labeling",
    "loading",
    "neurons",
    "precision",
    "preparing",
    "scaling",
    "sharding",
    "sparsity",
    "streaming",
)
"""Sections that print a page: the module of each has ``main(arguments)``."""


def main(arguments: list[str]) -> None:
    # Modules are imported on demand: some sections measure the memory of processes that import this file.
    if arguments[:1] == ["--sections"] and len(arguments) > 1 and arguments[1] in PAGES:
        importlib.import_module(arguments[1]).main(arguments[2:])
        return
    importlib.import_module("comparison").main(arguments)


if __name__ == "__main__":
    main(sys.argv[1:])
