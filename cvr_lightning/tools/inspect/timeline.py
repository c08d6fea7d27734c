"""Tracks of the contact sheet over time: bits, modes, labels, spikes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from cvr_lightning.files.printable import printable
from cvr_lightning.plots.clips import MODE_COLORS
from cvr_lightning.tools.inspect.survey import Survey

if TYPE_CHECKING:
    from cvr_lightning.tools.inspect.following import Following

FRAME_COLORS = {"I": "#c0392b", "P": "#4c8bd6", "B": "#8ccf9f"}
_OTHER = "#9a9a9a"
_LINES = ("#1f4e8c", "#e0752d", "#2f8f5b", "#8e44ad")
_LABELS = len(_LINES)


def draw_bits(axes: Any, side: Any, survey: Survey) -> None:
    """One bar per frame in the color of its type, on a square-root axis that keeps P-frames visible."""
    types = survey.info.frame_types
    kbit = survey.bits / 1000
    colors = [FRAME_COLORS.get(kind, _OTHER) for kind in types]
    axes.bar(range(len(types)), kbit, width=1.0 if len(types) > 200 else 0.85, color=colors)
    axes.set_yscale("function", functions=(_root, np.square))
    top = max(float(kbit.max(initial=0)), 1e-3)
    shown = [column.iframe if column.pframe is None else column.pframe for column in survey.columns]
    axes.plot(shown, [1.1 * top] * len(shown), "v", color="black", markersize=5)
    axes.set_ylim(0, 1.25 * top)
    axes.set_ylabel("kbit a frame\n(root scale)", fontsize=10)
    axes.grid(axis="y", alpha=0.3)
    names = [kind for kind in FRAME_COLORS if kind in types]
    patches = [Patch(fc=FRAME_COLORS[kind], label=f"{kind}-frame ({types.count(kind)})") for kind in names]
    others = sum(types.count(kind) for kind in set(types) - set(FRAME_COLORS))
    patches += [Patch(fc=_OTHER, label=f"type not read ({others})")] if others else []
    marker = Line2D([], [], color="black", marker="v", markersize=5, linestyle="", label="shown above")
    _legend(side, [*patches, *([marker] if shown else [])])


def _root(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.sqrt(np.maximum(values, 0))


def draw_modes_over_time(axes: Any, side: Any, survey: Survey) -> None:
    """Block modes of each P-frame as stacked bars; other frames are empty."""
    statistics = survey.pframes
    assert statistics is not None
    base = np.zeros(len(statistics.frames))
    step = max(1.0, survey.info.frame_types.count("P") / len(statistics.frames))
    modes = [(mode, MODE_COLORS[mode]) for mode in survey.modes]
    for place, (_, (_, color)) in enumerate(modes):
        height = 100 * statistics.fractions[:, place]
        axes.bar(statistics.frames, height, bottom=base, width=step, color=color)
        base += height
    axes.set_ylim(0, 100)
    axes.set_ylabel("blocks of\nP-frames (%)", fontsize=10)
    patches = []
    for mode, (name, color) in modes:
        fraction = survey.fraction(mode)
        if fraction is not None:
            label = f"{survey.mode_name(mode, name)} {100 * fraction:.1f} %"
            patches.append(Patch(fc=color, ec="#666666", label=label))
    _legend(side, patches)


def draw_labels(axes: Any, side: Any, frame_types: str, following: Following) -> None:
    """Probabilities of the top classes; the band above shows the top class of each frame."""
    frames = followed_frames(frame_types)[: len(following.probabilities)]
    percent = 100 * following.probabilities
    order = np.argsort(-percent.max(axis=0), kind="stable")[:_LABELS]
    best = percent.argmax(axis=1)
    for index, color in zip(order, _LINES, strict=False):
        axes.plot(frames, percent[:, index], color=color, linewidth=1.5)
        axes.bar(frames, np.where(best == index, 8.0, 0.0), bottom=102, width=1.0, color=color)
    axes.set_ylim(0, 110)
    axes.set_yticks([0, 50, 100])
    axes.set_ylabel("label\nprobability (%)", fontsize=10)
    axes.grid(axis="y", alpha=0.3)
    names = [_short(following.class_names[index]) for index in order]
    _legend(side, [Line2D([], [], color=c, label=name) for name, c in zip(names, _LINES, strict=False)])


def draw_spikes(
    axes: Any, side: Any, frame_types: str, layer: str, spikes_PC: npt.NDArray[np.float32]
) -> None:
    """Fraction of each channel's positions that fire, channels by frames; gray if no P-frame was read."""
    frames = followed_frames(frame_types)[: len(spikes_PC)]
    raster = np.full((spikes_PC.shape[1], len(frame_types)), np.nan, np.float32)
    raster[:, frames] = 100 * spikes_PC.T
    axes.set_facecolor("#c8c8c8")
    image = axes.imshow(raster, aspect="auto", cmap="viridis", vmin=0, interpolation="nearest")
    axes.set_ylabel(f"{layer}\nchannel", fontsize=10)
    bar = side.inset_axes((0.08, 0.0, 0.12, 1.0))
    side.figure.colorbar(image, cax=bar).set_label("positions\nfiring (%)", fontsize=8.5)
    bar.tick_params(labelsize=8)


def followed_frames(frame_types: str) -> list[int]:
    """The P-frames after the first I-frame, in the order of streaming predictions.

    P-frames have the same order in coding and display, regardless of B-frames.
    """
    first = frame_types.index("I")
    return [frame for frame, kind in enumerate(frame_types) if kind == "P" and frame > first]


def _legend(side: Any, handles: Sequence[Any]) -> None:
    legend = side.legend(
        handles=handles,
        loc="center left",
        fontsize=8.5,
        frameon=False,
        borderpad=0,
        handlelength=1.2,
        borderaxespad=0.2,
    )
    for text in legend.get_texts():
        text.set_parse_math(False)


def _short(name: str) -> str:
    shown = printable(name)
    return shown if len(shown) <= 16 else f"{shown[:14]}..."
