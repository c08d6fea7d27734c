"""Charts as SVG: curves over steps, and a confusion matrix."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cvr_lightning.tools.report.markup import Markup, element, joined

COLOURS = ("#3478c6", "#d9662a", "#2f9461", "#9b59b6", "#c0392b", "#8a7a1f")
_WIDTH, _HEIGHT = 360, 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 12, 12, 40
_POINTS = 300  # of a curve; more of them are averaged
_CELL, _SMALLEST_CELL, _SIDE = 30, 3, 640  # of the confusion matrix
_NUMBERED = 25  # classes up to which each cell carries its number
_NAMED = 60  # classes up to which each row is named


@dataclass(frozen=True)
class Curve:
    """One line of a chart.

    Attributes:
        name: For the legend.
        points: (n, 2), x and y.
        colour: Any of SVG.
        is_dashed: Draw it dashed.
    """

    name: str
    points: npt.NDArray[np.float64]
    colour: str
    is_dashed: bool = False


def line_chart(curves: Sequence[Curve], x_label: str, y_label: str) -> Markup:
    """Curves over one pair of axes; values that are not finite are left out.

    Args:
        curves: At least one, with a finite point.
        x_label: What is on the x axis, with its unit.
        y_label: The same of y.
    """
    thinned = [thin(curve.points[np.isfinite(curve.points).all(axis=1)]) for curve in curves]
    every = np.concatenate(thinned)
    x_ticks, y_ticks = ticks(*_span(every[:, 0])), ticks(*_span(every[:, 1]))
    x_low, x_high = x_ticks[0], x_ticks[-1]
    y_low, y_high = y_ticks[0], y_ticks[-1]

    def x(value: float) -> float:
        return _LEFT + (value - x_low) / (x_high - x_low) * (_WIDTH - _LEFT - _RIGHT)

    def y(value: float) -> float:
        return _HEIGHT - _BOTTOM - (value - y_low) / (y_high - y_low) * (_HEIGHT - _TOP - _BOTTOM)

    marks = [_grid_line(_LEFT, y(tick), _WIDTH - _RIGHT, y(tick)) for tick in y_ticks]
    marks += [_text(_LEFT - 6, y(tick) + 4, f"{tick:g}", "end") for tick in y_ticks]
    marks += [_text(x(tick), _HEIGHT - _BOTTOM + 16, f"{tick:g}", "middle") for tick in x_ticks]
    marks.append(_text((_LEFT + _WIDTH - _RIGHT) / 2, _HEIGHT - 6, x_label, "middle"))
    turned = f"rotate(-90 14 {(_HEIGHT - _BOTTOM) / 2:.0f})"
    marks.append(_text(14, (_HEIGHT - _BOTTOM) / 2, y_label, "middle", turned))
    for curve, points in zip(curves, thinned, strict=True):
        marks.append(_line(curve, [(x(a), y(b)) for a, b in points]))
    about = f"{y_label} over {x_label}: {', '.join(curve.name for curve in curves)}"
    chart = element("svg", *marks, viewBox=f"0 0 {_WIDTH} {_HEIGHT}", role="img", aria_label=about)
    keys = (element("span", _key(curve), curve.name, class_="key") for curve in curves)
    return element("figure", chart, element("figcaption", *keys))


def thin(points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """At most 300 points, each the mean of as many neighbours."""
    if len(points) <= _POINTS:
        return points
    return np.array([part.mean(axis=0) for part in np.array_split(points, _POINTS)])


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Round numbers that cover a span, ``most`` at most."""
    raw = (high - low) / (most - 2)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(number * step, 12) for number in range(first, last + 1)]


def _span(values: npt.NDArray[np.float64]) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    margin = 0.0 if high > low else abs(high) * 0.1 or 1.0
    return low - margin, high + margin


def _line(curve: Curve, places: Sequence[tuple[float, float]]) -> Markup:
    style = {"stroke_dasharray": "5 3"} if curve.is_dashed else {}
    path = " ".join(f"{a:.1f},{b:.1f}" for a, b in places)
    line = element("polyline", points=path, fill="none", stroke=curve.colour, stroke_width=1.8, **style)
    if len(places) > 40:
        return line
    dots = (element("circle", cx=a, cy=b, r=2.4, fill=curve.colour) for a, b in places)
    return joined([line, *dots])


def _key(curve: Curve) -> Markup:
    style = {"stroke_dasharray": "5 3"} if curve.is_dashed else {}
    line = element("line", x1=0, y1=5, x2=22, y2=5, stroke=curve.colour, stroke_width=2.4, **style)
    return element("svg", line, width=22, height=10, aria_hidden="true")


def _grid_line(x1: float, y1: float, x2: float, y2: float) -> Markup:
    return element("line", x1=x1, y1=y1, x2=x2, y2=y2, stroke="currentColor", stroke_opacity=0.18)


def _text(x: float, y: float, text: str, anchor: str, transform: str = "") -> Markup:
    turned = {"transform": transform} if transform else {}
    return element("text", text, x=x, y=y, text_anchor=anchor, **turned)


def confusion_chart(counts: npt.NDArray[np.int64], class_names: Sequence[str]) -> Markup:
    """Rows the true class, columns the predicted one, in per cent of the videos of the true class.

    Right is blue and wrong is orange, the more of it the stronger; cells carry their number up to 25
    classes, and every cell says what it is when it is pointed at.
    """
    classes = len(class_names)
    cell = max(_SMALLEST_CELL, min(_CELL, _SIDE // max(classes, 1)))
    room = 150 if classes <= _NAMED else 26
    side = cell * classes
    percent = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    marks = [element("rect", x=room, y=room, width=side, height=side, fill="none", stroke="currentColor")]
    for row, column in zip(*(axis.tolist() for axis in np.nonzero(counts)), strict=True):
        of = f"{counts[row, column]} of {counts[row].sum()}"
        about = f"{class_names[row]} taken for {class_names[column]}: {of}"
        marks.append(
            _cell(room + cell * column, room + cell * row, cell, percent[row, column], row == column, about)
        )
        if classes <= _NUMBERED:
            x, y = room + cell * (column + 0.5), room + cell * (row + 0.5) + 4
            marks.append(_text(x, y, f"{percent[row, column]:.0f}", "middle"))
    marks += _names(class_names, room, cell) if classes <= _NAMED else []
    marks.append(_text(room + side / 2, 14, "predicted class", "middle"))
    marks.append(_text(14, room + side / 2, "true class", "middle", f"rotate(-90 14 {room + side / 2})"))
    whole = room + side + 4
    return element(
        "svg",
        *marks,
        viewBox=f"0 0 {whole} {whole}",
        width=whole,
        role="img",
        aria_label="confusion matrix",
        class_="confusion",
    )


def _cell(x: float, y: float, side: float, percent: float, is_right: bool, about: str) -> Markup:
    return element(
        "rect",
        element("title", about),
        x=x,
        y=y,
        width=side,
        height=side,
        fill=COLOURS[0] if is_right else COLOURS[1],
        fill_opacity=0.12 + 0.78 * math.sqrt(percent / 100),
    )


def _names(class_names: Sequence[str], room: int, cell: int) -> list[Markup]:
    marks = []
    for number, name in enumerate(class_names):
        shown = name if len(name) <= 18 else f"{name[:16]}..."
        middle = room + cell * (number + 0.5) + 4
        marks.append(_text(room - 6, middle, shown, "end"))
        marks.append(_text(middle, room - 6, shown, "start", f"rotate(-90 {middle} {room - 6})"))
    return marks
