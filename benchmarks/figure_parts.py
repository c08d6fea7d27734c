"""What the figures of `make bench` are made of: rows of dots, lines, logarithmic axes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.legend_handler import HandlerTuple
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator
from measured import Measured, number

from cvr_lightning.models import PRESETS

LINES = {
    True: ("#0b3c78", "#2f73c0", "#3fa7d6"),
    False: ("#8a3d00", "#d9711c", "#b58900", "#c2185b", "#6a3d9a"),
}
"""Colors of lines, of ours and of peers."""
MARKERS = "os^Dvp"
WIDTH = 9.0  # inches
SPREAD = 0.8  # height of the dots of one name, as a fraction of the distance of two rows


def is_ours(what: str) -> bool:
    return what.startswith(("ours", *PRESETS))


def shades(ours: bool, count: int) -> list[tuple[float, float, float, float]]:
    """Colors of series, from dark to light."""
    colors = colormaps["Blues" if ours else "Oranges"]
    return [colors(1 - 0.65 * place / max(count - 1, 1)) for place in range(count)]


def new_figure(height: float) -> Figure:
    figure = Figure(figsize=(WIDTH, height), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def canvas(height: float, columns: int = 1, rows: int = 1) -> tuple[Figure, Sequence[Axes]]:
    figure = new_figure(height)
    return figure, list(figure.subplots(rows, columns, squeeze=False).flat)


def dots(axes: Axes, rows: Sequence[Measured], series_of: Callable[[Measured], str]) -> None:
    """A row for each name with a dot for each series, labeled with its value."""
    names = list(dict.fromkeys(row.what for row in rows))
    series = list(dict.fromkeys(series_of(row) for row in rows))
    for y, name in enumerate(names):
        own = [row for row in rows if row.what == name]
        colors = shades(is_ours(name), len(series))
        for place, row in enumerate(own):
            middle = y + (place - (len(own) - 1) / 2) * SPREAD / len(series)
            color = colors[series.index(series_of(row))]
            axes.plot(row.quartiles, (middle, middle), color=color, linewidth=1.5)
            axes.plot(row.median, middle, "o", color=color, markersize=7)
            end = (max(row.quartiles[1], row.median), middle)
            axes.annotate(
                number(row.median), end, (7, 0), textcoords="offset points", va="center", fontsize=8
            )
        axes.axhline(y + 0.5, color="0.9", linewidth=0.8)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    if len(series) > 1:
        kinds = (True, False) if not all(map(is_ours, names)) else (True,)
        handles = [
            tuple(Line2D([], [], linestyle="", marker="o", color=color) for color in colors)
            for colors in zip(*(shades(ours, len(series)) for ours in kinds), strict=True)
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


def lines(axes: Axes, rows: Sequence[Measured]) -> None:
    """A line for each name along its places; dashed where it is not the plain way."""
    names = list(dict.fromkeys(row.what for row in rows))
    families: dict[bool, list[str]] = {True: [], False: []}
    for index, name in enumerate(names):
        own = sorted((row for row in rows if row.what == name), key=lambda row: row.at or 0)
        family, ours = name.removesuffix(", bf16").removesuffix(", threads"), is_ours(name)
        if family not in families[ours]:
            families[ours].append(family)
        color = LINES[ours][families[ours].index(family) % len(LINES[ours])]
        medians = [row.median for row in own]
        lows = [row.median - row.quartiles[0] for row in own]
        highs = [row.quartiles[1] - row.median for row in own]
        axes.errorbar(
            [row.at for row in own],
            medians,
            (lows, highs),
            color=color,
            marker=MARKERS[index % len(MARKERS)],
            linestyle="-" if name == family else "--",
            capsize=3,
            label=name,
        )
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)


def placed_lines(axes: Axes, rows: Sequence[Measured]) -> None:
    """Lines on a logarithmic axis of values, ticks where something was measured."""
    lines(axes, rows)
    log_scale(axes, "y")
    places(axes, rows)


def places(axes: Axes, rows: Iterable[Measured]) -> None:
    """Ticks where something was measured, and nowhere else."""
    places = sorted({row.at for row in rows if row.at is not None})
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticks(places, [f"{place:g}" for place in places])


def log_axis(axes: Axes, label: str, room: float = 0.1) -> None:
    """A logarithmic axis of values, with room for the text beside the last dot."""
    axes.set_xscale("log")
    low, high = axes.get_xlim()
    axes.set_xlim(low, high * (high / low) ** room)
    log_scale(axes, "x")
    axes.set_xlabel(label)
    axes.grid(axis="x", alpha=0.3)
    axes.set_axisbelow(True)


def log_scale(axes: Axes, name: str) -> None:
    """Ticks at 1, 2, 5, 10 or, where there are many, at powers of ten; written as people write numbers."""
    (axes.set_yscale if name == "y" else axes.set_xscale)("log")
    low, high = axes.get_ylim() if name == "y" else axes.get_xlim()
    axis = axes.yaxis if name == "y" else axes.xaxis
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if math.log10(high / low) < 2.5 else (1.0,)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    axis.set_minor_formatter(NullFormatter())


def same_limits(panels: Sequence[Axes]) -> None:
    limits = [axes.get_ylim() for axes in panels]
    for axes in panels:
        axes.set_ylim(min(low for low, _ in limits), max(high for _, high in limits))


def count_groups(rows: Sequence[Measured]) -> int:
    return len({row.group for row in rows}) * len({row.what for row in rows}) // 2


def labeled_dot(
    axes: Axes,
    at: tuple[float, float],
    text: str,
    ours: bool,
    offset: tuple[int, int],
    fill: str | None = None,
) -> None:
    """A dot with its name at an offset in points."""
    color = LINES[ours][1]
    axes.plot(*at, "o", markersize=9, color=color, markerfacecolor=fill or color)
    axes.annotate(text, at, offset, textcoords="offset points", color=color, fontsize=9)
