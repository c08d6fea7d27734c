"""The figures of the report of `make bench`: each takes sections, by name, and gives one picture.

Ours are blue, peers are not; bars and points are medians, whiskers quartiles.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.legend_handler import HandlerTuple
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator
from measured import (
    ALONE,
    AS_MADE,
    FILE,
    JOULES,
    SECONDS,
    TOP1,
    Measured,
    Section,
    number,
)

from cvr_lightning.models import PRESETS

Sections = Mapping[str, Section]

OURS = ("#0b3c78", "#2f73c0", "#7fb0e6", "#b9d5f2")
PEERS = ("#8a3d00", "#d9711c", "#f0ac6c", "#f7d3b0")
LINES = {
    True: ("#0b3c78", "#2f73c0", "#3fa7d6"),
    False: ("#8a3d00", "#d9711c", "#b58900", "#c2185b", "#6a3d9a"),
}
"""Colours of lines, of ours and of peers."""
MARKERS = "os^Dvp"
CHANCE = 10.0
HEIGHTS = (0.75, 0.5, 0.25)
"""Where the names of neighbouring lines stand, as shares of the height: they must not meet."""
WIDTH = 9.0  # inches
BAR = 0.8  # of the distance of two rows


def is_ours(what: str) -> bool:
    return what.startswith(("ours", *PRESETS))


def reading(sections: Sections) -> Figure:
    """Milliseconds of each reader, a bar for each clip."""
    rows = [row for row in sections["reading"].measured if row.unit == "ms"]
    figure, (axes,) = _canvas(0.42 * len({row.what for row in rows}) + 0.3 * _count_groups(rows) + 1.4)
    _bars(axes, rows, lambda row: row.group.split(":")[0])
    _log_axis(axes, "milliseconds for one video (log scale)")
    axes.set_title("Reading one video, one thread")
    return figure


def lengths(sections: Sections) -> Figure:
    """Milliseconds of each reader by the length of the video."""
    rows = [row for row in sections["lengths"].measured if row.unit == "ms"]
    figure, (axes,) = _canvas(4.8)
    axes.set_xscale("log")
    axes.set_xlabel("length of the video, seconds (log scale)")
    axes.set_ylabel("milliseconds for one video (log scale)")
    axes.set_title("Reading videos of different length, one thread")
    _placed_lines(axes, rows)
    return figure


def memory(sections: Sections) -> Figure:
    """Memory that a reader and that a model adds to its process."""
    readers = [row for row in sections["lengths"].measured if row.unit.startswith("MiB")]
    models = list(sections["memory"].measured)
    figure, (upper, lower) = _canvas(5.6, rows=2)
    _bars(upper, readers, lambda row: f"{row.at:g} s of video")
    _bars(lower, models, lambda row: "one video")
    for axes, title in ((upper, "Reading one video"), (lower, "Model and one forward pass")):
        _log_axis(axes, "MiB added at the peak (log scale)")
        axes.set_title(title)
    return figure


def inference(sections: Sections) -> Figure:
    """Videos per second of the models alone, one video at a time."""
    rows = [
        row
        for row in sections["inference"].measured
        if row.group in (ALONE, f"{ALONE}, bf16") and row.at == 1
    ]
    figure, (axes,) = _canvas(0.6 * len({row.what for row in rows}) + 1.4)
    _bars(axes, rows, lambda row: "bfloat16" if row.group.endswith("bf16") else "float32")
    _log_axis(axes, "videos per second (log scale)")
    axes.set_title("The model alone, one video at a time")
    return figure


def end_to_end(sections: Sections) -> Figure:
    """Videos per second from the file to the label."""
    rows = [row for row in sections["inference"].measured if row.group == FILE]
    largest = max(row.at or 0 for row in rows)
    rows = [row for row in rows if row.at in (1, largest)]
    figure, (axes,) = _canvas(0.6 * len({row.what for row in rows}) + 1.4)
    _bars(axes, rows, lambda row: f"batch {row.at:g}")
    _log_axis(axes, "videos per second (log scale)")
    axes.set_title("From the file to the label, float32")
    return figure


def batch(sections: Sections) -> Figure:
    """Videos per second of the presets by batch size."""
    figure, panels = _canvas(4.4, 2)
    for axes, what in zip(panels, (FILE, ALONE), strict=True):
        rows = [row for row in sections["inference"].measured if row.what in PRESETS]
        named = [
            replace(row, what=f"{row.what}{row.group.removeprefix(what)}")
            for row in rows
            if row.group in (what, f"{what}, bf16")
        ]
        _lines(axes, named)
        axes.set_xscale("log", base=2)
        _places(axes, named)
        axes.set_xlabel("videos in a batch (log scale)")
        axes.set_ylabel("videos per second (log scale)")
        axes.set_title(what.capitalize())
    panels[0].get_legend().remove()
    for axes in panels:
        _log_scale(axes, "y")
    _same_limits(panels)
    return figure


def workers(sections: Sections) -> Figure:
    """Clips per second by the number of reading processes."""
    rows = [
        replace(row, what=row.what if row.group == "processes" else f"{row.what}, {row.group}")
        for row in sections["workers"].measured
    ]
    figure, (axes,) = _canvas(4.8)
    _placed_lines(axes, rows)
    axes.set_xlabel("reading processes or threads")
    axes.set_ylabel("clips per second (log scale)")
    axes.set_title("Reading by many workers")
    return figure


def accuracy(sections: Sections) -> Figure:
    """Accuracy against joules and seconds; where accuracy was not measured, the cost alone as a line."""
    rows = [row for name in sections if name.startswith("accuracy") for row in sections[name].measured]
    values = {(row.group, row.what, row.unit): row.median for row in rows}
    points = [key[:2] for key in values if key[2] == TOP1]
    lines = [key[:2] for key in values if key[0] == AS_MADE and key[2] == JOULES]
    figure, panels = _canvas(6.4, 2)
    for axes, unit, label in (
        (panels[0], JOULES, "theoretical mJ per video, 45 nm (log scale)"),
        (panels[1], SECONDS, "ms per video, model alone (log scale)"),
    ):
        for index, (group, what) in enumerate(sorted(lines, key=lambda line: values[(*line, unit)])):
            colour = OURS[1] if is_ours(what) else PEERS[1]
            axes.axvline(values[group, what, unit], color=colour, linestyle="--", linewidth=1.2)
            _beside_line(axes, values[group, what, unit], what.split(",")[0], colour, HEIGHTS[index % 3])
        for index, (group, what) in enumerate(points):
            at = (values[group, what, unit], values[group, what, TOP1])
            colour = PEERS[0] if "RGB" in what else OURS[0]
            axes.plot(
                *at, MARKERS[index % len(MARKERS)], markersize=9, color=colour, label=what, linestyle=""
            )
        axes.axhline(CHANCE, color="0.6", linewidth=1, linestyle=":")
        axes.set_ylim(0, 104)
        axes.set_ylabel("top-1, % (MotionShapes, unless named)")
        _log_axis(axes, label)
        axes.margins(x=0.12)
        axes.text(0.01, CHANCE - 4, "chance", transform=axes.get_yaxis_transform(), color="0.4", fontsize=8)
    panels[1].set_ylabel("")
    handles, names = panels[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=2, frameon=False)
    figure.suptitle(
        "Accuracy against cost. Points: trained; dashed: cost alone, accuracy not measured here", fontsize=11
    )
    return figure


FIGURES: dict[str, tuple[str, Callable[[Sections], Figure]]] = {
    "reading": ("reading", reading),
    "lengths": ("lengths", lengths),
    "memory": ("memory", memory),
    "inference": ("inference", inference),
    "end_to_end": ("inference", end_to_end),
    "batch": ("inference", batch),
    "workers": ("workers", workers),
    "accuracy": ("accuracy", accuracy),
}
"""Each figure, and the section that it stands in."""


def _canvas(height: float, columns: int = 1, rows: int = 1) -> tuple[Figure, Sequence[Axes]]:
    figure = Figure(figsize=(WIDTH, height), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, list(figure.subplots(rows, columns, squeeze=False).flat)


def _bars(axes: Axes, rows: Sequence[Measured], series_of: Callable[[Measured], str]) -> None:
    """A group of horizontal bars for each name, one of a series each, with its figure at the end."""
    names = list(dict.fromkeys(row.what for row in rows))
    series = list(dict.fromkeys(series_of(row) for row in rows))
    height = BAR / len(series)
    for y, name in enumerate(names):
        own = [row for row in rows if row.what == name]
        shades = OURS if is_ours(name) else PEERS
        for place, row in enumerate(own):
            middle = y + (place - (len(own) - 1) / 2) * height
            axes.barh(middle, row.median, height * 0.92, color=shades[series.index(series_of(row)) % 4])
            low, high = row.quartiles
            axes.plot((low, high), (middle, middle), color="black", linewidth=1)
            end = (max(high, row.median), middle)
            axes.annotate(
                number(row.median), end, (4, 0), textcoords="offset points", va="center", fontsize=8
            )
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    if len(series) > 1:
        kinds = (True, False) if not all(map(is_ours, names)) else (True,)
        handles = [
            tuple(Patch(color=(OURS if ours else PEERS)[place]) for ours in kinds)
            for place in range(len(series))
        ]
        axes.legend(
            handles,
            series,
            handler_map={tuple: HandlerTuple(None)},
            fontsize=8,
            loc="upper left",
            bbox_to_anchor=(1.0, 1.0),
            frameon=False,
        )


def _lines(axes: Axes, rows: Sequence[Measured]) -> None:
    """A line for each name along its places; dashed where it is not the plain way."""
    names = list(dict.fromkeys(row.what for row in rows))
    families: dict[bool, list[str]] = {True: [], False: []}
    for index, name in enumerate(names):
        own = sorted((row for row in rows if row.what == name), key=lambda row: row.at or 0)
        family, ours = name.removesuffix(", bf16").removesuffix(", threads"), is_ours(name)
        if family not in families[ours]:
            families[ours].append(family)
        colour = LINES[ours][families[ours].index(family) % len(LINES[ours])]
        medians = [row.median for row in own]
        lows = [row.median - row.quartiles[0] for row in own]
        highs = [row.quartiles[1] - row.median for row in own]
        axes.errorbar(
            [row.at for row in own],
            medians,
            (lows, highs),
            color=colour,
            marker=MARKERS[index % len(MARKERS)],
            linestyle="-" if name == family else "--",
            capsize=3,
            label=name,
        )
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)


def _placed_lines(axes: Axes, rows: Sequence[Measured]) -> None:
    """Lines on a logarithmic axis of values, ticks where something was measured."""
    _lines(axes, rows)
    _log_scale(axes, "y")
    _places(axes, rows)


def _places(axes: Axes, rows: Iterable[Measured]) -> None:
    """Ticks where something was measured, and nowhere else."""
    places = sorted({row.at for row in rows if row.at is not None})
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticks(places, [f"{place:g}" for place in places])


def _log_axis(axes: Axes, label: str) -> None:
    """A logarithmic axis of values, with room for the figures at the ends of the bars."""
    axes.set_xscale("log")
    low, high = axes.get_xlim()
    axes.set_xlim(low, high * (high / low) ** 0.1)
    _log_scale(axes, "x")
    axes.set_xlabel(label)
    axes.grid(axis="x", alpha=0.3)
    axes.set_axisbelow(True)


def _log_scale(axes: Axes, name: str) -> None:
    """Ticks at 1, 2, 5, 10 or, where there are many, at powers of ten; written as people write numbers."""
    (axes.set_yscale if name == "y" else axes.set_xscale)("log")
    low, high = axes.get_ylim() if name == "y" else axes.get_xlim()
    axis = axes.yaxis if name == "y" else axes.xaxis
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if math.log10(high / low) < 2.5 else (1.0,)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    axis.set_minor_formatter(NullFormatter())


def _beside_line(axes: Axes, x: float, text: str, colour: str, height: float) -> None:
    axes.annotate(
        text,
        (x, height),
        (2, 0),
        xycoords=("data", "axes fraction"),
        textcoords="offset points",
        rotation=90,
        va="center",
        fontsize=9,
        color=colour,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5},
    )


def _same_limits(panels: Sequence[Axes]) -> None:
    limits = [axes.get_ylim() for axes in panels]
    for axes in panels:
        axes.set_ylim(min(low for low, _ in limits), max(high for _, high in limits))


def _count_groups(rows: Sequence[Measured]) -> int:
    return len({row.group for row in rows}) * len({row.what for row in rows}) // 2
