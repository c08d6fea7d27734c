"""The report page: collects the values of each section and renders the template page.html."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined

import cvr_lightning
from cvr_lightning.evaluation.results import results_column
from cvr_lightning.files.printable import printable
from cvr_lightning.tools.report.charts import COLORS, Curve, cost_chart, curve_chart
from cvr_lightning.tools.report.classes import NO_SCORES, class_rows, confusion
from cvr_lightning.tools.report.cost import cost_points, costs
from cvr_lightning.tools.report.run import Run, short_names
from cvr_lightning.tools.report.worst import WorstVideo, worst_videos

CHARTS = (
    ("loss (nats)", ("train/loss", "val/loss"), 1),
    ("top-1 (%)", ("train/top1", "val/top1"), 100),
    ("top-5 (%)", ("val/top5",), 100),
    ("learning rate", ("train/learning_rate",), 1),
    ("activation sparsity (%)", ("vitals/spikes/activation_sparsity",), 100),
    ("training speed (videos/s)", ("vitals/throughput/videos_per_second",), 1),
)
"""Each chart: its y axis, its scalars, and the factor from their unit to that of the axis."""


@dataclass(frozen=True)
class Named:
    """A run under its short name, in its color."""

    name: str
    color: str
    run: Run

    @property
    def path(self) -> str:
        """The path as given by the user."""
        return self.run.name


def page(runs: Sequence[Run], worst: int) -> str:
    """The page as HTML.

    Args:
        runs: At least one.
        worst: Number of videos with the highest loss to show of each run.
    """
    names = short_names([run.name for run in runs])
    named = [
        Named(name, COLORS[i % len(COLORS)], run)
        for i, (name, run) in enumerate(zip(names, runs, strict=True))
    ]
    html = (
        _environment()
        .get_template("page.html")
        .render(
            title=f"{len(runs)} runs" if len(runs) > 1 else names[0],
            written=datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z"),
            version=cvr_lightning.__version__,
            runs=named,
            missing_files=[what for run in runs for what in run.missing],
            worst=[_worst(one, worst) for one in named],
            configurations=[_configuration(one) for one in named],
            **_tested(named),
            **_curves(named),
            **_scored(named),
            **_differences(named),
        )
    )
    return html.lstrip()  # the macros leave empty lines before the document


def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("cvr_lightning.tools.report", "."),
        autoescape=True,
        finalize=_shown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _shown(value: Any) -> Any:
    """Escape non-printable characters; lines stay lines, and markup is left alone."""
    if hasattr(value, "__html__"):
        return value
    return "\n".join(map(printable, str(value).split("\n")))


def _tested(named: Sequence[Named]) -> dict[str, Any]:
    """Results and costs, side by side."""
    tested = [(one, one.run.results) for one in named if one.run.results is not None]
    columns = [results_column(results) for _, results in tested]
    names = [one.name for one, _ in tested]
    points = cost_points([(one.name, one.color, results) for one, results in tested])
    return {
        "tested": ["", *names],
        "results": [[label, *(column[label] for column in columns)] for label in columns[0]]
        if columns
        else [],
        "costs": costs(names, [results for _, results in tested]) if tested else None,
        "cost_chart": cost_chart(points) if len(points) > 1 else None,
    }


def _curves(named: Sequence[Named]) -> dict[str, Any]:
    charts, absent = [], []
    for label, tags, factor in CHARTS:
        curves = {f"{one.name}: {tag}": curve for one in named for tag, curve in _lines(one, tags, factor)}
        if curves:
            svg = curve_chart(list(curves.values()), label)
            charts.append({"svg": svg, "about": f"{label} over training step: {', '.join(curves)}"})
        else:
            absent.append(f"{label}: no run has logged {' or '.join(tags)}")
    return {"charts": charts, "missing_curves": absent}


def _lines(one: Named, tags: Sequence[str], factor: float) -> Iterator[tuple[str, Curve]]:
    """The scalars of a run that have a finite value."""
    for tag in tags:
        points = one.run.curves.get(tag, np.empty((0, 2)))
        finite = points[np.isfinite(points).all(axis=1)]
        if len(finite):
            yield tag, Curve(finite * [1, factor], one.color, is_dashed=tag.startswith("train/"))


def _scored(named: Sequence[Named]) -> dict[str, Any]:
    scored = [one for one in named if one.run.scores is not None]
    return {
        "confusions": [{"name": one.name, **confusion(one.run)} for one in named],
        "scored": [one.name for one in scored],
        "classes": class_rows([one.run for one in scored]),
    }


def _worst(one: Named, count: int) -> dict[str, Any]:
    if one.run.scores is None:
        return {"name": one.name, "videos": [], "missing": NO_SCORES}
    videos = [_video(video) for video in worst_videos(one.run, count)]
    missing = "" if videos else "no labeled video, or --worst 0"
    return {"name": one.name, "videos": videos, "missing": missing}


def _video(video: WorstVideo) -> dict[str, Any]:
    text = (
        f"{video.name}: {video.label}, predicted {video.predicted} "
        f"({100 * video.probability:.1f} %), loss {video.loss:.3f} nats"
    )
    png = "" if video.sheet is None else base64.b64encode(video.sheet).decode("ascii")
    return {"name": video.name, "text": text, "png": png, "missing": video.missing}


def _configuration(one: Named) -> dict[str, Any]:
    versions = (one.run.results or {}).get("versions") or {}
    text = yaml.safe_dump(dict(one.run.config), sort_keys=False, allow_unicode=True) if one.run.config else ""
    return {"name": one.name, "versions": list(versions.items()), "text": text}


def _differences(named: Sequence[Named]) -> dict[str, Any]:
    """The options in which the runs differ."""
    flat = [dict(_options(one.run.config)) for one in named]
    keys = list(dict.fromkeys(key for options in flat for key in options))
    rows = [
        [key, *(options.get(key, "not set") for options in flat)]
        for key in keys
        if len({options.get(key) for options in flat}) > 1
    ]
    return {"option_head": ["option", *(one.name for one in named)], "differences": rows}


def _options(value: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Dotted names and values."""
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _options(inner, f"{prefix}.{key}".lstrip("."))
    else:
        yield prefix, str(value)
