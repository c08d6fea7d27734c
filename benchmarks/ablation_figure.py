"""The figure of ``ablation.py``: accuracy against the cost of a view."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from ablation_report import Run
from ablation_rows import ROWS
from figure_parts import LINES, MARKERS, canvas, log_axis
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from peers import X3D, count_peer

COSTS = (
    ("energy_j", 1e3, "theoretical mJ per view, 45 nm (log scale)"),
    ("gmac", 1.0, "GMAC per view (log scale)"),
)


def figure(runs: Sequence[Run]) -> Figure:
    """Panels of energy and GMAC: a dot for each row with its deviation over runs, X3D-S by cost alone."""
    x3d = X3D().eval()
    report = count_peer(x3d, x3d.inputs())
    peer = {"energy_j": report.energy_j, "gmac": report.gmac}
    picture, panels = canvas(4.0, columns=2)
    for axes, (cost, scale, label) in zip(panels, COSTS, strict=True):
        axes.axvline(scale * peer[cost], color=LINES[False][1], linestyle="--", label="X3D-S, cost alone")
        _dots(axes, runs, cost, scale)
        log_axis(axes, label, room=0.02)
    panels[0].set_ylabel("top-1")
    picture.legend(*panels[0].get_legend_handles_labels(), loc="outside right upper", fontsize=8)
    picture.suptitle("Accuracy against cost: upper left is better", fontsize=11)
    return picture


def _dots(axes: Axes, runs: Sequence[Run], cost: str, scale: float) -> None:
    done = {run["row"] for run in runs}
    for place, row in enumerate(row for row in ROWS if row in done):
        own = [run for run in runs if run["row"] == row]
        top1 = [run["top1"] for run in own]
        at = scale * statistics.mean(run[cost] for run in own), statistics.mean(top1)
        deviation = statistics.stdev(top1) if len(own) > 1 else None
        axes.errorbar(*at, deviation, color=f"C{place}", marker=MARKERS[place % len(MARKERS)], label=row)
