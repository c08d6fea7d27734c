"""What was measured, apart from how it is shown: repetitions by name, as text, JSON and ratios."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from cvr_lightning.files.atomic import atomic_path

FILE, ALONE = "file to label", "model alone"
AS_TRAINED, AS_MADE, RUNS = "as trained here", "at its own size", "runs given"
TOP1, JOULES, SECONDS = "% top-1", "mJ/video", "ms/video"
"""Groups and units by which figures find what they show."""


@dataclass(frozen=True)
class Measured:
    """Repetitions of one measurement.

    Attributes:
        what: Reader, model, part.
        unit: Unit of the values; one that ends in ``/s`` is a rate, of which more is better.
        values: One of each repetition.
        group: What is compared with each other: a clip, a way to run.
        at: Its place on an axis: seconds of video, batch size, workers.
    """

    what: str
    unit: str
    values: tuple[float, ...]
    group: str = ""
    at: float | None = None

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def quartiles(self) -> tuple[float, float]:
        if len(self.values) < 2:
            return self.median, self.median
        low, _, high = statistics.quantiles(self.values, n=4, method="inclusive")
        return low, high

    def times(self, other: Measured) -> float:
        """How many times as costly as the other, repetition by repetition: a slow moment slows both."""
        ratios = [mine / its for mine, its in zip(self.values, other.values, strict=True)]
        ratio = statistics.median(ratios)
        return 1 / ratio if self.unit.endswith("/s") else ratio


@dataclass(frozen=True)
class Section:
    """Part of a report: what was measured, how, when, and who was absent."""

    title: str
    protocol: str
    measured: tuple[Measured, ...]
    axis: str = ""
    reference: str = ""
    absent: dict[str, str] = field(default_factory=dict)
    date: str = ""
    wall_s: float = 0.0
    cpu_s: float = 0.0

    def write(self, path: Path) -> None:
        with atomic_path(path) as unfinished:
            unfinished.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Section:
        measured = (Measured(**row | {"values": tuple(row["values"])}) for row in values["measured"])
        return cls(**values | {"measured": tuple(measured)})


def tables(rows: Iterable[Measured], axis: str = "", reference: str = "") -> str:
    """A markdown table for each group and unit: medians, quartiles, and the ratio to the reference.

    Args:
        rows: What was measured.
        axis: What ``at`` means; no column where nothing has a place on it.
        reference: The row, at the same place or else at the group's first, that others are divided by.
    """
    parts: dict[tuple[str, str], list[Measured]] = {}
    for row in rows:
        parts.setdefault((row.group, row.unit), []).append(row)
    return "\n\n".join(_table(group, unit, part, axis, reference) for (group, unit), part in parts.items())


def _table(group: str, unit: str, rows: Sequence[Measured], axis: str, reference: str) -> str:
    has_axis = any(row.at is not None for row in rows)
    ours = [row for row in rows if row.what == reference]
    repeated = any(len(row.values) > 1 for row in rows)
    head = [group, *([axis] if has_axis else []), unit, *(["quartiles"] if repeated else [])]
    head += [f"x {reference}"] if ours else []
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for row in rows:
        low, high = row.quartiles
        cells = [row.what, *([f"{row.at:g}" if row.at is not None else ""] if has_axis else [])]
        cells += [number(row.median), *([f"{number(low)} - {number(high)}"] if repeated else [])]
        if ours:
            base = next((own for own in ours if own.at == row.at), ours[0])
            cells.append(number(row.times(base)))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def number(value: float) -> str:
    """Three digits that count, without an exponent."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:#.3g}".rstrip(".") if value else "0"
