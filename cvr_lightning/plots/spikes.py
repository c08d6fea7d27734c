"""Plots of spikes: over time by channel, and by position."""

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
        iframes: (N, 3, H, W) uint8 RGB, the I-frame of each segment.
        exists: (N, T) bool, the P-frames that exist.
        raster: For each layer (N, T, C), fraction of the positions that spike.
        maps: For each layer (N, h, w), spikes per neuron and step, averaged over T and C.
    """

    video: int
    iframes: npt.NDArray[np.uint8]
    exists: npt.NDArray[np.bool_]
    raster: dict[str, Floats]
    maps: dict[str, Floats]


def draw_spike_raster(spikes: ClipSpikes, title: str) -> Figure:
    """Draw time by channel for each layer; lines separate segments, missing P-frames are gray."""
    segments, steps = spikes.exists.shape
    figure = new_figure(max(7.0, 3.0 + 0.2 * segments * steps), 1.1 + 2.6 * len(spikes.raster))
    heading = f"{printable(title)}: spikes over time, % of the positions that fire"
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
    """Draw spikes by position: a column for each segment, its I-frame in gray above the map of each layer.

    Args:
        spikes: The spikes.
        title: Name of the video.
        segments: Maximum number of columns; with more segments, evenly spread ones are drawn.
    """
    chosen = np.unique(np.linspace(0, len(spikes.iframes) - 1, segments).round().astype(int))
    rows = 1 + len(spikes.maps)
    figure = new_figure(2.5 * len(chosen) + 1.4, 0.8 + 2.4 * rows)
    figure.suptitle(f"{printable(title)}: spikes by position", fontsize=12, parse_math=False)
    grid = figure.subplots(rows, len(chosen), squeeze=False)
    margins = _margins(figure, left=0.4, right=1.1, bottom=0.1, top=0.75)
    figure.subplots_adjust(**margins, wspace=0.05, hspace=0.05)
    for axes, segment in zip(grid[0], chosen, strict=True):
        axes.imshow(spikes.iframes[segment].mean(axis=0), cmap="gray", vmin=0, vmax=255)
        axes.set_title(f"segment {segment}", fontsize=10)
    grid[0, 0].set_ylabel("I-frame")
    height, width = spikes.iframes.shape[2:]
    for row, (layer, maps_Nhw) in zip(grid[1:], spikes.maps.items(), strict=True):
        _draw_map_row(row, maps_Nhw[chosen], (0, width, height, 0))
        row[0].set_ylabel(layer)
    for axes in grid.flat:
        axes.set_xticks([])
        axes.set_yticks([])
    return figure


def _draw_map_row(row: Any, maps_Nhw: Floats, extent: tuple[int, int, int, int]) -> None:
    """The maps of one layer on one scale, with its color bar."""
    top = max(float(maps_Nhw.max()), 1e-6)
    for axes, map_hw in zip(row, maps_Nhw, strict=True):
        image = axes.imshow(map_hw, cmap="inferno", vmin=0, vmax=top, extent=extent, interpolation="nearest")
    bar = row[-1].inset_axes((1.06, 0.05, 0.07, 0.9))
    row[-1].figure.colorbar(image, cax=bar, label="spikes per neuron and step")


def _margins(figure: Figure, left: float, right: float, bottom: float, top: float) -> dict[str, float]:
    """Convert margins in inches to the arguments of ``subplots_adjust``."""
    width, height = figure.get_figwidth(), figure.get_figheight()
    return {
        "left": left / width,
        "right": 1 - right / width,
        "bottom": bottom / height,
        "top": 1 - top / height,
    }


def distinct_names(names: Sequence[str]) -> list[str]:
    """Strip the parts that all dotted names have in common at the beginning and the end.

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
