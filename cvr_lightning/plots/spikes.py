"""Pictures of spikes: when each channel fires, and where in the image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from cvr_lightning.files.printable import printable
from cvr_lightning.plots.clips import Floats, new_figure


@dataclass(frozen=True)
class ClipSpikes:
    """The spikes of one clip of N segments of T P-frames.

    Attributes:
        video: Index of the video.
        iframes: (N, 3, H, W) uint8 RGB, the I-frame in force of each segment.
        exists: (N, T) bool, the P-frames that exist.
        raster: Of each layer (N, T, C), share of the positions that spike.
        maps: Of each layer (N, h, w), spikes per neuron and step: mean over T and C.
    """

    video: int
    iframes: npt.NDArray[np.uint8]
    exists: npt.NDArray[np.bool_]
    raster: dict[str, Floats]
    maps: dict[str, Floats]


def draw_spike_raster(spikes: ClipSpikes, title: str) -> Figure:
    """Time by channel for each layer; lines part the segments, P-frames that do not exist are grey."""
    segments, steps = spikes.exists.shape
    figure = new_figure(max(7.0, 3.0 + 0.2 * segments * steps), 1.1 + 2.6 * len(spikes.raster))
    heading = f"{printable(title)}: spikes over time, share of the positions that fire"
    figure.suptitle(heading, fontsize=12, parse_math=False)
    grid = figure.subplots(len(spikes.raster), 1, squeeze=False, sharex=True)
    figure.subplots_adjust(**_margins(figure, left=0.9, right=0.1, bottom=0.6, top=0.5), hspace=0.12)
    for axes, (layer, raster_NTC) in zip(grid[:, 0], spikes.raster.items(), strict=True):
        shown = np.where(spikes.exists[:, :, None], 100 * raster_NTC, np.nan).reshape(segments * steps, -1).T
        axes.set_facecolor("#c8c8c8")
        image = axes.imshow(shown, aspect="auto", cmap="viridis", vmin=0, interpolation="nearest")
        for border in range(1, segments):
            axes.axvline(border * steps - 0.5, color="white", linewidth=1)
        axes.set_ylabel(f"{layer}\nchannel")
        figure.colorbar(image, ax=axes, pad=0.02, label="positions firing (%)")
    middles = np.arange(segments) * steps + (steps - 1) / 2
    grid[-1, 0].set_xticks(middles, [str(segment) for segment in range(segments)])
    grid[-1, 0].set_xlabel(f"segment, of {steps} P-frames each")
    return figure


def draw_spike_maps(spikes: ClipSpikes, title: str, segments: int = 4) -> Figure:
    """Where the neurons fire, over the I-frames: a row for each layer, a column for each segment.

    Args:
        spikes: The spikes.
        title: Name of the video.
        segments: Columns at most; of more segments, so many evenly spread ones.
    """
    chosen = np.unique(np.linspace(0, len(spikes.iframes) - 1, segments).round().astype(int))
    figure = new_figure(2.5 * len(chosen) + 1.2, 0.6 + 2.55 * len(spikes.maps))
    figure.suptitle(f"{printable(title)}: where spikes fall", fontsize=12, parse_math=False)
    grid = figure.subplots(len(spikes.maps), len(chosen), squeeze=False)
    figure.subplots_adjust(**_margins(figure, left=0.4, right=0.1, bottom=0.1, top=0.75), wspace=0.04)
    for row, (layer, maps_Nhw) in zip(grid, spikes.maps.items(), strict=True):
        shown = maps_Nhw[chosen]
        top = max(float(shown.max()), 1e-6)
        for axes, segment, spikes_hw in zip(row, chosen, shown, strict=True):
            image = _overlay(axes, spikes.iframes[segment], spikes_hw, top)
            axes.set_title(f"segment {segment}", fontsize=9)
        row[0].set_ylabel(layer)
        figure.colorbar(image, ax=list(row), pad=0.02, label="spikes per neuron and step")
    return figure


def _margins(figure: Figure, left: float, right: float, bottom: float, top: float) -> dict[str, float]:
    """Margins in inches as what ``subplots_adjust`` takes."""
    width, height = figure.get_figwidth(), figure.get_figheight()
    return {
        "left": left / width,
        "right": 1 - right / width,
        "bottom": bottom / height,
        "top": 1 - top / height,
    }


def _overlay(axes: Any, iframe: npt.NDArray[np.uint8], spikes_hw: Floats, top: float) -> Any:
    """Spikes in colour over the grey I-frame, the more of them the more opaque."""
    height, width = iframe.shape[1:]
    grey = iframe.mean(axis=0)
    axes.imshow(grey, cmap="gray", vmin=0, vmax=255, extent=(0, width, height, 0))
    opacity = np.clip(spikes_hw / top, 0, 1) * 0.75
    axes.set_xticks([])
    axes.set_yticks([])
    return axes.imshow(
        spikes_hw, cmap="inferno", vmin=0, vmax=top, alpha=opacity, extent=(0, width, height, 0)
    )


def distinct_names(names: Sequence[str]) -> list[str]:
    """Dotted names without the parts that all of them share at their beginning and end.

    Examples:
        >>> distinct_names(["encoder.modulator1.neurons", "encoder.modulator2.neurons"])
        ['modulator1', 'modulator2']
    """
    parts = [name.split(".") for name in names]
    if len(parts) < 2:
        return list(names)
    while all(len(part) > 1 and part[0] == parts[0][0] for part in parts):
        parts = [part[1:] for part in parts]
    while all(len(part) > 1 and part[-1] == parts[0][-1] for part in parts):
        parts = [part[:-1] for part in parts]
    return [".".join(part) for part in parts]
