"""Measurements and sections of a report, with ratios, JSON and markdown tables."""

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
"""Groups and units that figures select by."""


@dataclass(frozen=True)
class Measured:
    """Repetitions of one measurement.

    Attributes:
        what: Reader, model or stage.
        unit: Unit of the values; a unit that ends in ``/s`` is a rate, where more is better.
        values: One value per repetition.
        group: Measurements that are compared with each other: a clip, a way to run.
        at: Position on an axis: seconds of video, batch size, workers.
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
        """Cost relative to the other, as the median ratio over repetitions, so that load affects both."""
        ratios = [mine / its for mine, its in zip(self.values, other.values, strict=True)]
        ratio = statistics.median(ratios)
        return 1 / ratio if self.unit.endswith("/s") else ratio


@dataclass(frozen=True)
class Section:
    """A section of a report: measurements, protocol, date, and libraries that could not be measured."""

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
        rows: The measurements.
        axis: Meaning of ``at``; no column if no measurement has a position.
        reference: The row that others are divided by, at the same position or else the first of the group.
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
    """Three significant digits, without an exponent."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:#.3g}".rstrip(".") if value else "0"
