"""The figures of the report of `make bench`: each takes sections, by name, and returns one picture.

Ours are blue, peers orange; dots are medians, whiskers quartiles. A log axis has no zero that a bar could
start at.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from figure_parts import (
    canvas,
    count_groups,
    dots,
    is_ours,
    labeled_dot,
    lines,
    log_axis,
    log_scale,
    new_figure,
    placed_lines,
    places,
    same_limits,
)
from matplotlib.figure import Figure
from measured import ALONE, AS_MADE, FILE, JOULES, SECONDS, TOP1, Section

from cvr_lightning.models import PRESETS

Sections = Mapping[str, Section]

CHANCE = 10.0


def reading(sections: Sections) -> Figure:
    """Milliseconds of each reader, a dot for each clip."""
    rows = [row for row in sections["reading"].measured if row.unit == "ms"]
    figure, (axes,) = canvas(0.42 * len({row.what for row in rows}) + 0.3 * count_groups(rows) + 1.4)
    dots(axes, rows, lambda row: row.group.split(":")[0])
    log_axis(axes, "milliseconds for one video (log scale)")
    axes.set_title("Reading one video, one thread")
    return figure


def lengths(sections: Sections) -> Figure:
    """Milliseconds of each reader by the length of the video."""
    rows = [row for row in sections["lengths"].measured if row.unit == "ms"]
    figure, (axes,) = canvas(4.8)
    axes.set_xscale("log")
    axes.set_xlabel("length of the video, seconds (log scale)")
    axes.set_ylabel("milliseconds for one video (log scale)")
    axes.set_title("Reading videos of different length, one thread")
    placed_lines(axes, rows)
    return figure


def memory(sections: Sections) -> Figure:
    """Memory that a reader and that a model adds to its process."""
    readers = [row for row in sections["lengths"].measured if row.unit.startswith("MiB")]
    models = list(sections["memory"].measured)
    figure, (upper, lower) = canvas(5.6, rows=2)
    dots(upper, readers, lambda row: f"{row.at:g} s of video")
    dots(lower, models, lambda row: "one video")
    for axes, title in ((upper, "Reading one video"), (lower, "Model and one forward pass")):
        log_axis(axes, "MiB added at the peak (log scale)")
        axes.set_title(title)
    return figure


def inference(sections: Sections) -> Figure:
    """Videos per second of the models alone, one video at a time."""
    rows = [
        row
        for row in sections["inference"].measured
        if row.group in (ALONE, f"{ALONE}, bf16") and row.at == 1
    ]
    figure, (axes,) = canvas(0.6 * len({row.what for row in rows}) + 1.4)
    dots(axes, rows, lambda row: "bfloat16" if row.group.endswith("bf16") else "float32")
    log_axis(axes, "videos per second (log scale)")
    axes.set_title("The model alone, one video at a time")
    return figure


def end_to_end(sections: Sections) -> Figure:
    """Videos per second from the file to the label."""
    rows = [row for row in sections["inference"].measured if row.group == FILE]
    largest = max(row.at or 0 for row in rows)
    rows = [row for row in rows if row.at in (1, largest)]
    figure, (axes,) = canvas(0.6 * len({row.what for row in rows}) + 1.4)
    dots(axes, rows, lambda row: f"batch {row.at:g}")
    log_axis(axes, "videos per second (log scale)")
    axes.set_title("From the file to the label, float32")
    return figure


def batch(sections: Sections) -> Figure:
    """Videos per second of the presets by batch size."""
    figure, panels = canvas(4.4, 2)
    for axes, what in zip(panels, (FILE, ALONE), strict=True):
        rows = [row for row in sections["inference"].measured if row.what in PRESETS]
        named = [
            replace(row, what=f"{row.what}{row.group.removeprefix(what)}")
            for row in rows
            if row.group in (what, f"{what}, bf16")
        ]
        lines(axes, named)
        axes.set_xscale("log", base=2)
        places(axes, named)
        axes.set_xlabel("videos in a batch (log scale)")
        axes.set_ylabel("videos per second (log scale)")
        axes.set_title(what.capitalize())
    panels[0].get_legend().remove()
    for axes in panels:
        log_scale(axes, "y")
    same_limits(panels)
    return figure


def workers(sections: Sections) -> Figure:
    """Clips per second by the number of reading processes."""
    rows = [
        replace(row, what=row.what if row.group == "processes" else f"{row.what}, {row.group}")
        for row in sections["workers"].measured
    ]
    figure, (axes,) = canvas(4.8)
    placed_lines(axes, rows)
    axes.set_xlabel("reading processes or threads")
    axes.set_ylabel("clips per second (log scale)")
    axes.set_title("Reading by many workers")
    return figure


def accuracy(sections: Sections) -> Figure:
    """Accuracy against joules and seconds; below, the cost of models whose accuracy was not measured."""
    rows = [row for name in sections if name.startswith("accuracy") for row in sections[name].measured]
    values = {(row.group, row.what, row.unit): row.median for row in rows}
    trained = [key[:2] for key in values if key[2] == TOP1]
    untrained = [key[:2] for key in values if key[0] == AS_MADE and key[2] == JOULES]
    figure = new_figure(5.6)
    grid = figure.subplots(2, 2, sharex="col", sharey="row", height_ratios=(3, 0.4 * len(untrained) + 0.3))
    costs = (
        (JOULES, "theoretical mJ per video, 45 nm (log scale)"),
        (SECONDS, "ms per video, model alone (log scale)"),
    )
    for (unit, label), (upper, lower) in zip(costs, grid.T, strict=True):
        for row, model in enumerate(sorted(trained, key=lambda model: -values[(*model, TOP1)])):
            place = ((-6, 9), (-6, -17))[row % 2]  # above or below, or neighbors meet
            at = values[(*model, unit)], values[(*model, TOP1)]
            labeled_dot(upper, at, model[1], "RGB" not in model[1], place)
        for row, model in enumerate(sorted(untrained, key=lambda model: values[(*model, unit)])):
            at = values[(*model, unit)], row
            labeled_dot(lower, at, model[1].split(",")[0], is_ours(model[1]), (9, -4), fill="none")
        upper.axhline(CHANCE, color="0.6", linewidth=1, linestyle=":")
        upper.set_ylim(0, 108)
        upper.grid(axis="x", alpha=0.3)
        lower.set_ylim(len(untrained) - 0.4, -0.6)
        lower.set_yticks([])
        log_axis(lower, label, room=0.35)
        upper.text(0.99, CHANCE + 1, "chance", transform=upper.get_yaxis_transform(), ha="right", color="0.4")
    grid[0, 0].set_ylabel("top-1, %\n(MotionShapes, unless named)")
    grid[1, 0].set_ylabel("not trained:\ncost alone")
    figure.suptitle("Accuracy against cost: upper left is better. Blue: ours", fontsize=11)
    return figure


FIGURES: dict[str, tuple[tuple[str, ...], Callable[[Sections], Figure]]] = {
    "reading": (("reading",), reading),
    "lengths": (("lengths",), lengths),
    "memory": (("memory", "lengths"), memory),
    "inference": (("inference",), inference),
    "end_to_end": (("inference",), end_to_end),
    "batch": (("inference",), batch),
    "workers": (("workers",), workers),
    "accuracy": (("accuracy",), accuracy),
}
"""The sections that each figure needs, its place in the report first."""
