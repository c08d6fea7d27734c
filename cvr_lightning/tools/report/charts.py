"""Charts of the report as inline SVG: curves over training steps, accuracy against energy."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from cvr_lightning.files.printable import printable

COLORS = ("#3478c6", "#d9662a", "#2f9461", "#9b59b6", "#c0392b", "#8a7a1f")
_GRAY = "#8a94a0"  # of axes: readable on light and dark backgrounds
_POINTS = 300  # of a curve; longer ones are averaged
_LABEL = 8.0  # height of a label in % of top-1
_MARKED = 40  # points up to which each has a dot

# Text is kept as text in the page's color; the salt makes ids reproducible.
_STYLE: Any = {"svg.fonttype": "none", "svg.hashsalt": "cvr report", "text.usetex": False}


@dataclass(frozen=True)
class Curve:
    """One line of a chart.

    Attributes:
        points: (n, 2), x and y, finite.
        color: Any that matplotlib knows.
        is_dashed: Draw it dashed.
    """

    points: npt.NDArray[np.float64]
    color: str
    is_dashed: bool = False


def curve_chart(curves: Sequence[Curve], y_label: str) -> str:
    """Curves over the training step.

    Args:
        curves: At least one.
        y_label: Quantity of the y axis, with its unit.
    """
    figure, axes = _canvas(3.6, 2.3)
    for curve in curves:
        x, y = thin(curve.points).T
        style = {"linestyle": "--" if curve.is_dashed else "-", "linewidth": 1 if curve.is_dashed else 1.8}
        axes.plot(x, y, color=curve.color, marker="o" if len(x) <= _MARKED else "", markersize=3, **style)
    axes.set_xlabel("training step")
    axes.set_title(y_label, loc="left", fontsize=9)
    axes.grid(axis="y", color=_GRAY, alpha=0.3)
    return _svg(figure)


def thin(points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Average neighboring points so that at most 300 remain."""
    if len(points) <= _POINTS:
        return points
    return np.array([chunk.mean(axis=0) for chunk in np.array_split(points, _POINTS)])


def cost_chart(points: Sequence[tuple[str, str, float, float]]) -> str:
    """Accuracy against energy: a labeled dot for each run.

    Args:
        points: Name, color, energy in mJ per video (positive) and top-1 in %, of each run.
    """
    figure, axes = _canvas(5.2, 2.8)
    axes.set_xscale("log")
    height = 0.0
    for name, color, energy_mj, top1 in sorted(points, key=lambda point: point[3]):
        axes.plot(energy_mj, top1, "o", color=color, markersize=8)
        height = max(top1, height + _LABEL)  # labels of equal accuracies stand above one another
        text = axes.annotate(f"{printable(name)}, {top1:.1f} %", (energy_mj, height), (8, 0))
        text.set(anncoords="offset points", va="center", color=color, parse_math=False)
    energies = [energy_mj for _, _, energy_mj, _ in points]
    axes.set_xlim(min(energies) / 1.5, max(energies) * 5)  # room for the labels
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_ylim(0, max(105, height + _LABEL))
    axes.set_yticks(range(0, 101, 20))
    axes.set_xlabel("theoretical energy, mJ per video (log scale)")
    axes.set_title("top-1 (%)", loc="left", fontsize=9)
    axes.grid(color=_GRAY, alpha=0.3)
    return _svg(figure)


def _canvas(width: float, height: float) -> tuple[Figure, Any]:
    """A figure of this size in inches, without a background, and its axes."""
    figure = Figure(figsize=(width, height), layout="constrained", frameon=False)
    FigureCanvasSVG(figure)
    axes = figure.subplots()
    axes.patch.set_visible(False)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(_GRAY)
    axes.tick_params(color=_GRAY)
    return figure, axes


def _svg(figure: Figure) -> str:
    """The figure as an inline SVG element."""
    file = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with matplotlib.rc_context(_STYLE):
        figure.savefig(file, format="svg", metadata=nothing)
    drawing = file.getvalue()
    drawing = drawing[drawing.index("<svg") :]
    return re.sub(r'<g id="[^"]*"', "<g", drawing)  # the same in every chart: "figure_1", "axes_1"
