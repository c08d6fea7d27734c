"""Composes the report of `make bench`: sections with their tables and figures, and the libraries left out."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterator, Mapping
from datetime import date
from pathlib import Path

from bench_figures import FIGURES, Sections
from machine import cpu, memory_gib, slug
from matplotlib.figure import Figure
from measured import Measured, Section, tables

from cvr_lightning.files.atomic import atomic_path

ALT = {
    "reading": "Milliseconds of each reader for one video",
    "lengths": "Milliseconds of each reader by the length of the video",
    "memory": "Memory that readers and models add to a process",
    "inference": "Videos per second of the models alone",
    "end_to_end": "Videos per second from the file to the label",
    "batch": "Videos per second by batch size",
    "workers": "Clips per second by the number of workers",
    "accuracy": "Accuracy against joules and seconds of a video",
}


def compose(sections: Sections, configuration: Mapping[str, str], folder: Path, suffix: str = "") -> Path:
    """Write the figures, then the report, each atomically.

    Args:
        sections: What was measured, by name, in the order of the report.
        configuration: The options of the run, for the report.
        folder: Where the report and the folder of its figures are written.
        suffix: Appended to the name of the report.

    Returns:
        The report, ``<folder>/<date>-<machine>.md``; its figures lie in the folder of that name.
    """
    name = f"{date.today()}-{slug()}{suffix}"
    for figure, draw in figures_of(sections).items():
        with atomic_path(folder / name / f"{figure}.png") as unfinished:
            draw(sections).savefig(unfinished, format="png")
    report = folder / f"{name}.md"
    with atomic_path(report) as unfinished:
        unfinished.write_text("\n".join(lines(sections, configuration, name)) + "\n", encoding="utf-8")
    return report


def lines(sections: Sections, configuration: Mapping[str, str], figures: str) -> Iterator[str]:
    """The report, line by line."""
    yield "<!-- written by `make bench`; change benchmarks/, not this file -->"
    yield "# Speed comparison\n"
    yield f"{date.today()}, {machine()}. Medians with quartiles of interleaved repetitions after a warm-up;"
    yield "ratios are medians over the repetitions. Weights are random unless accuracy is given: they do not"
    yield "affect speed.\n"
    yield from in_short(sections)
    yield "\n## Configuration\n"
    yield from (f"- {name}: {value}" for name, value in configuration.items())
    yield "\n## Not measured\n"
    yield from absent(sections)
    for name, section in sections.items():
        yield f"\n## {section.title}\n"
        yield f"{section.protocol} ({section.date}; took {section.wall_s:.0f} s, {section.cpu_s:.0f} s of"
        yield "processor time.)\n"
        for figure in (figure for figure in figures_of(sections) if FIGURES[figure][0][0] == name):
            yield f"![{ALT[figure]}]({figures}/{figure}.png)\n"
        yield tables(section.measured, section.axis, section.reference)


def figures_of(sections: Sections) -> dict[str, Callable[[Sections], Figure]]:
    """The figures whose sections are all present."""
    return {
        figure: draw for figure, (needed, draw) in FIGURES.items() if all(name in sections for name in needed)
    }


def machine() -> str:
    return (
        f"{cpu()}, {os.cpu_count()} cores, {memory_gib():.0f} GiB, {platform.system()}, "
        f"Python {platform.python_version()}"
    )


def absent(sections: Sections) -> list[str]:
    """The libraries that could not be measured in a section, and why."""
    found: dict[tuple[str, str], list[str]] = {}
    for section in sections.values():
        for peer, reason in section.absent.items():
            found.setdefault((peer, reason), []).append(section.title)
    lines = [f"- {peer} ({', '.join(titles)}): {reason}" for (peer, reason), titles in found.items()]
    return lines or ["- none"]


def in_short(sections: Sections) -> Iterator[str]:
    """The main ratios, from the tables below."""
    for name, group in (("reading", ""), ("inference", "file to label"), ("inference", "model alone")):
        section = sections.get(name)
        if section is None:
            continue
        found = ratios(section, group)
        parts = [
            f"{peer} {low:.2g}" + (f" to {high:.2g}" if high > low else "") for peer, (low, high) in found
        ]
        if parts:
            what = f"{section.title}{', ' + group if group else ''}"
            yield f"- {what}, one video at a time, time relative to `{section.reference}`:"
            yield f"  {'; '.join(parts)}."


def ratios(section: Section, group: str) -> list[tuple[str, tuple[float, float]]]:
    """Smallest and largest ratio of each library to the reference over the groups, one video at a time."""
    own: dict[str, Measured] = {}
    peers: dict[str, list[float]] = {}
    for row in section.measured:
        if row.what == section.reference and row.at in (None, 1):
            own[row.group] = row
    for row in section.measured:
        is_peer = not row.what.startswith(("ours", "tiny", "small", "base"))
        if is_peer and row.group in own and (not group or row.group == group) and row.at in (None, 1):
            peers.setdefault(row.what, []).append(row.times(own[row.group]))
    return [(peer, (min(values), max(values))) for peer, values in peers.items()]
