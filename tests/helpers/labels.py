"""``cvr label`` as a user types it, and its tables."""

from __future__ import annotations

import csv
from pathlib import Path

from cvr_lightning.cli.main import main
from cvr_lightning.datamodules.sampling import ClipSampling

NAMES = ["jump", "run", "wave"]
SAMPLING = ClipSampling(segments=2, pframes=2, size=(64, 88), crop=64, coefficients=(4, 1), form="auto")


def run(*arguments: str | Path) -> int:
    """Run ``cvr label``; returns the exit status."""
    try:
        main(["label", "--workers", "1", *map(str, arguments)])
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))
