"""The page: its sections in order, its style, and what it says of parts that are missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np
import yaml

import cvr_lightning
from cvr_lightning.evaluation.results import FILE_NAME, results_column
from cvr_lightning.tools.report.charts import COLOURS, Curve, confusion_chart, line_chart
from cvr_lightning.tools.report.markup import Markup, element, joined, missing, picture, table
from cvr_lightning.tools.report.run import Run
from cvr_lightning.tools.report.style import STYLE
from cvr_lightning.tools.report.worst import WorstVideo, worst_videos

CHARTS = (
    ("loss (nats)", ("train/loss", "val/loss"), 1),
    ("top-1 (%)", ("train/top1", "val/top1"), 100),
    ("top-5 (%)", ("val/top5",), 100),
    ("learning rate", ("train/learning_rate",), 1),
    ("activation sparsity (%)", ("spikes/activation_sparsity",), 100),
    ("training speed (videos/s)", ("throughput/videos_per_second",), 1),
)
"""Each chart: its y axis, its scalars, and the factor from their unit to that of the axis."""


def page(runs: Sequence[Run], worst: int) -> str:
    """The whole page as HTML.

    Args:
        runs: At least one.
        worst: Videos of the highest loss to show of each run.
    """
    written = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z")
    title = f"{len(runs)} runs" if len(runs) > 1 else runs[0].name
    sections = (
        element("h1", f"Report: {title}"),
        element("p", f"Written {written} by cvr_lightning {cvr_lightning.__version__}.", class_="note"),
        _missing_files(runs),
        _section("Results", _results(runs)),
        _section("Training curves", _curves(runs)),
        _section("Confusion matrix", joined(_confusion(run) for run in runs)),
        _section("Accuracy of each class", _classes(runs)),
        _section("Cost of a video", _cost(runs)),
        _section("Worst videos", joined(_worst(run, worst) for run in runs)),
        _section("Configuration and versions", _configuration(runs)),
    )
    head = element(
        "head",
        Markup('<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'),
        element("title", f"Report: {title}"),
        Markup(f"<style>{STYLE}</style>"),
    )
    return f"<!DOCTYPE html>\n{element('html', head, element('body', *sections), lang='en')}\n"


def _section(title: str, content: Markup) -> Markup:
    return element("section", element("h2", title), content)


def _missing_files(runs: Sequence[Run]) -> Markup:
    return joined(missing(what) for run in runs for what in run.missing)


def _with(runs: Sequence[Run], part: str) -> list[Run]:
    """The runs that have a part: results, scores or curves."""
    return [run for run in runs if getattr(run, part)]


def _results(runs: Sequence[Run]) -> Markup:
    tested = [run for run in runs if run.results is not None]
    if not tested:
        return missing(f"no run has {FILE_NAME}; cvr test writes it")
    columns = [results_column(run.results) for run in tested if run.results is not None]
    rows = [[label, *(column[label] for column in columns)] for label in columns[0]]
    return table(["", *(run.name for run in tested)], rows)


def _curves(runs: Sequence[Run]) -> Markup:
    charts, absent = [], []
    for label, tags, factor in CHARTS:
        curves = list(_chart_curves(_with(runs, "curves"), tags, factor))
        if curves:
            charts.append(line_chart(curves, "training step", label))
        else:
            absent.append(f"{label}: no run has logged {' or '.join(tags)}")
    return joined([element("div", *charts, class_="charts"), *map(missing, absent)])


def _chart_curves(runs: Sequence[Run], tags: Sequence[str], factor: float) -> list[Curve]:
    """A line for each scalar of each run: of one run in colours, of several dashed in training."""
    curves = []
    for number, run in enumerate(runs):
        for place, tag in enumerate(tags):
            points = run.curves.get(tag)
            if points is None or not len(points):
                continue
            finite = points[np.isfinite(points).all(axis=1)]
            if len(finite):
                colour = COLOURS[(number if len(runs) > 1 else place) % len(COLOURS)]
                name = f"{run.name}: {tag}" if len(runs) > 1 else tag
                curves.append(Curve(name, finite * [1, factor], colour, is_dashed=tag.startswith("train/")))
    return curves


def _confusion(run: Run) -> Markup:
    heading = element("h3", run.name)
    if run.scores is None:
        return joined([heading, missing(f"{run.name} has no scores; cvr test writes them")])
    counts = run.table.confusion_matrix()
    if not counts.sum():
        return joined([heading, missing("none of its videos has a label")])
    text = (
        f"{int(counts.trace())} of {int(counts.sum())} videos right. Cells are per cent of the videos of "
        "the true class; blue is right, orange is wrong. Point at a cell to read it."
    )
    names = [str(name) for name in run.scores.class_names]
    return joined([heading, element("p", text, class_="note"), confusion_chart(counts, names)])


def _classes(runs: Sequence[Run]) -> Markup:
    scored = _with(runs, "scores")
    if not scored:
        return missing("no run has scores; cvr test writes them")
    cells: dict[str, dict[str, tuple[int, int]]] = {}
    for run in scored:
        counts = run.table.confusion_matrix()
        assert run.scores is not None
        for index, name in enumerate(run.scores.class_names):
            cells.setdefault(str(name), {})[run.name] = int(counts[index, index]), int(counts[index].sum())
    order = sorted(cells, key=lambda name: _share(cells[name].get(scored[0].name)))
    rows = [[name, *(_accuracy(cells[name].get(run.name)) for run in scored)] for name in order]
    note = element("p", f"The classes that {scored[0].name} knows least come first.", class_="note")
    return joined([note, table(["class", *(f"{run.name}: videos right" for run in scored)], rows)])


def _share(cell: tuple[int, int] | None) -> float:
    return cell[0] / cell[1] if cell is not None and cell[1] else 2.0


def _accuracy(cell: tuple[int, int] | None) -> Markup | str:
    if cell is None:
        return "not a class of this run"
    right, videos = cell
    if not videos:
        return "no video"
    percent = 100 * right / videos
    style = f"background-size:{percent:.1f}% 100%"
    return element("span", f"{percent:.1f} % ({right} of {videos})", class_="bar", style=style)


def _cost(runs: Sequence[Run]) -> Markup:
    tested = [run.results for run in runs if run.results is not None]
    names = [run.name for run in runs if run.results is not None]
    if not tested:
        return missing(f"no run has {FILE_NAME}; cvr test writes it")
    rows = [[label, *(_cost_text(results, keys, unit) for results in tested)] for label, keys, unit in _COSTS]
    energies = [results["energy_j_per_video"] for results in tested]
    parts = list(dict.fromkeys(part for energy in energies for part in energy.get("by_part", {})))
    by_part = [[part, *(_part_text(energy, part) for energy in energies)] for part in parts]
    about = "; ".join(dict.fromkeys(str(energy.get("includes", "not said")) for energy in energies))
    measured = dict.fromkeys(str(energy.get("measured_includes", "not said")) for energy in energies)
    return joined(
        [
            table(["", *names], rows),
            element("h3", "Theoretical energy by part"),
            table(["part of the model", *(f"{name}: µJ/video (share)" for name in names)], by_part)
            if by_part
            else missing("the results do not tell parts apart"),
            element("p", f"Theoretical energy includes: {about}.", class_="note"),
            element("p", f"Measured energy: {'; '.join(measured)}.", class_="note"),
        ]
    )


_COSTS = (
    ("multiply-accumulates, all (GMAC/video)", ("gmac_per_video",), ".4f"),
    ("of them effective (GMAC/video)", ("effective_gmac_per_video",), ".4f"),
    ("accumulates of spikes (GAC/video)", ("effective_gac_per_video",), ".6f"),
    ("energy, theoretical (J/video)", ("energy_j_per_video", "theoretical"), ".6f"),
    ("energy, measured (J/video)", ("energy_j_per_video", "measured"), ".4f"),
    ("energy of training, measured (J)", ("training_energy", "measured_j"), ".1f"),
    ("speed with reading (videos/s)", ("videos_per_second", "with_reading"), ".1f"),
    ("speed of the model alone (videos/s)", ("videos_per_second", "model_only"), ".1f"),
)


def _cost_text(results: Mapping[str, Any], keys: Sequence[str], form: str) -> str:
    value: Any = results
    for key in keys:
        if not isinstance(value, Mapping) or key not in value:
            return "not in the results"
        value = value[key]
    return "not measured" if value is None else f"{value:{form}}"


def _part_text(energy: Mapping[str, Any], part: str) -> str:
    joules = energy.get("by_part", {}).get(part)
    if joules is None:
        return "no such part"
    total = sum(energy["by_part"].values())
    return f"{1e6 * joules:.3f} ({100 * joules / total:.1f} %)" if total else f"{1e6 * joules:.3f}"


def _worst(run: Run, count: int) -> Markup:
    heading = element("h3", run.name)
    if run.scores is None:
        return joined([heading, missing(f"{run.name} has no scores; cvr test writes them")])
    videos = worst_videos(run, count)
    if not videos:
        return joined([heading, missing("none of its videos has a label, or none was asked for")])
    return joined([heading, *(_video(rank, video) for rank, video in enumerate(videos, 1))])


def _video(rank: int, video: WorstVideo) -> Markup:
    text = (
        f"{rank}. {video.name}: {video.label}, taken for {video.predicted} "
        f"({100 * video.probability:.1f} %), loss {video.loss:.3f} nats"
    )
    if video.sheet is None:
        return joined([element("p", text), missing(video.missing)])
    about = f"Sheet of {video.name}: I-frames, vectors, residual, modes, bits over time"
    return element("figure", element("figcaption", text), picture(video.sheet, about))


def _configuration(runs: Sequence[Run]) -> Markup:
    parts = [_differences(runs)] if len(runs) > 1 else []
    for run in runs:
        parts.append(element("h3", run.name))
        versions = (run.results or {}).get("versions")
        rows = [[name, str(value)] for name, value in (versions or {}).items()]
        parts.append(table(["", "version"], rows) if rows else missing("its results name no versions"))
        text = yaml.safe_dump(dict(run.config), sort_keys=False, allow_unicode=True)
        parts.append(element("pre", text) if run.config else missing("it has no config.yaml"))
    return joined(parts)


def _differences(runs: Sequence[Run]) -> Markup:
    """The options in which the runs differ."""
    flat = [dict(_options(run.config)) for run in runs]
    keys = list(dict.fromkeys(key for options in flat for key in options))
    rows = [
        [key, *(options.get(key, "not set") for options in flat)]
        for key in keys
        if len({options.get(key) for options in flat}) > 1
    ]
    if not rows:
        return element("p", "The configurations are the same.")
    return joined(
        [element("h3", "Options that differ"), table(["option", *(run.name for run in runs)], rows)]
    )


def _options(value: Any, prefix: str = "") -> list[tuple[str, str]]:
    """Dotted names and values."""
    if isinstance(value, Mapping) and value:
        return [
            item for key, inner in value.items() for item in _options(inner, f"{prefix}.{key}".lstrip("."))
        ]
    return [(prefix, str(value))]
