"""The page of the GPU benchmark: sections with their tables and figures, and what was not measured."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path

from figure_parts import canvas, dots, log_axis, placed_lines
from machine import cpu, versions
from matplotlib.figure import Figure
from measured import Measured, Section, tables

from cvr_lightning.files.atomic import atomic_path

PACKAGES = ("torch", "triton", "lightning", "numba", "av", "torchcodec", "decord2", "nvidia-ml-py")
Rows = Sequence[Measured]


def compose(sections: Mapping[str, Section], folder: Path, card: str, day: date) -> Path:
    """Write the figures and the page, each atomically.

    Args:
        sections: The sections so far, by name.
        folder: Where ``<date>-gpu-<card>.md`` and the folder of its figures are written.
        card: Description of the card.
        day: Date of the measurement.
    """
    name = f"{day}-gpu-{'-'.join(re.findall('[a-z0-9]+', card.split(',')[0].lower()))}"
    figures = {
        key: draw(rows)
        for key, (unit, draw) in FIGURES.items()
        if key in sections and (rows := [row for row in sections[key].measured if row.unit == unit])
    }
    for key, figure in figures.items():
        with atomic_path(folder / name / f"{key}.png") as unfinished:
            figure.savefig(unfinished, format="png")
    page = folder / f"{name}.md"
    with atomic_path(page) as unfinished:
        text = "\n".join(lines(sections, name, set(figures), card, day))
        unfinished.write_text(text + "\n", encoding="utf-8")
    return page


def lines(
    sections: Mapping[str, Section], name: str, figures: set[str], card: str, day: date
) -> Iterator[str]:
    """The page, line by line."""
    yield "<!-- written by `make gpu-bench`; change benchmarks/, not this file -->"
    yield f"# On a GPU: {card.split(',')[0]}\n"
    yield f"{day}, {card}; {cpu()}, {os.cpu_count()} cores, Python {platform.python_version()},"
    yield f"{versions(PACKAGES)}. Medians with quartiles of interleaved repetitions; random weights.\n"
    for key, section in sections.items():
        yield f"## {section.title}\n"
        yield f"{section.protocol} ({section.date}; took {section.wall_s:.0f} s.)\n"
        if key in figures:
            yield f"![{section.title}]({name}/{key}.png)\n"
        if section.measured:
            yield tables(section.measured, section.axis) + "\n"
        if section.absent:
            yield "\n".join(f"- {what}: {text}" for what, text in section.absent.items()) + "\n"


def _models(rows: Rows) -> Figure:
    """Videos per second by batch, a panel for float32 and for bfloat16 and its compilers."""
    figure, panels = canvas(7.5, rows=2)
    for axes, dtype in zip(panels, ("float32", "bf16"), strict=True):
        own = [row for row in rows if row.group.startswith(dtype)]
        named = [replace(row, what=f"{row.what}{row.group.removeprefix(dtype)}") for row in own]
        axes.set_xscale("log", base=2)
        axes.set_title(f"Models alone, {dtype}")
        axes.set_ylabel("videos per second (log scale)")
        if named:
            placed_lines(axes, named)
    panels[1].set_xlabel("videos in a batch (log scale)")
    return figure


def _dots(title: str, label: str) -> Callable[[Rows], Figure]:
    """A dot for each row and group."""

    def draw(rows: Rows) -> Figure:
        groups = list(dict.fromkeys(row.group for row in rows))
        figure, panels = canvas(
            1.2 + 0.8 * len(groups) * len({row.what for row in rows}) ** 0.5, rows=len(groups)
        )
        for axes, group in zip(panels, groups, strict=True):
            dots(axes, [row for row in rows if row.group == group], lambda row: _place(row))
            log_axis(axes, label)
            axes.set_title(f"{title}: {group}", fontsize=9)
        return figure

    return draw


def _place(row: Measured) -> str:
    return "" if row.at is None else f"batch {row.at:g}"


FIGURES: dict[str, tuple[str, Callable[[Rows], Figure]]] = {
    "models": ("videos/s", _models),
    "neurons": ("microseconds", _dots("A layer of neurons", "microseconds (log scale)")),
    "labels": ("videos/s", _dots("From the file to the label", "videos per second (log scale)")),
    "training": ("clips/s", _dots("Training", "clips per second (log scale)")),
    "energy": ("mJ/video", _dots("Joules", "mJ per video (log scale)")),
}
"""The unit whose rows a section's figure shows, and the figure."""
