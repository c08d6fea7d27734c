"""The contact sheet: I-frames, fields of P-frames below them, and tracks over time."""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec, GridSpecFromSubplotSpec
from matplotlib.image import imsave
from matplotlib.patches import Patch

from cvr_lightning.codec.arrays import BLOCK, BlockMode
from cvr_lightning.files.printable import printable
from cvr_lightning.plots.clips import (
    MODE_COLORS,
    draw_modes,
    draw_motion,
    draw_residual,
    draw_wheel,
    new_figure,
    residual_energy,
)
from cvr_lightning.tools.inspect.survey import COLUMNS, Column, Survey
from cvr_lightning.tools.inspect.text import (
    bitrate_text,
    codec_text,
    frames_text,
    gops_text,
    readable_text,
    size_text,
)
from cvr_lightning.tools.inspect.timeline import draw_bits, draw_labels, draw_modes_over_time, draw_spikes

if TYPE_CHECKING:  # imported only with a checkpoint
    from cvr_lightning.tools.inspect.following import Following

WIDTH, MARGIN, LEGEND = 13.0, 0.75, 1.75  # inches: the sheet, its left edge, the legends at the right
DPI = 140  # the sheet is 1820 pixels wide
_HEAD, _TRACK, _GAP = 1.62, 1.35, 0.34
_TALLEST = 2.6  # inches of a picture
_ROWS = ("I-frame", "motion vectors", "residual energy", "block modes")


def draw_sheet(survey: Survey, following: Following | None = None) -> Figure:
    """Draw a survey as a contact sheet.

    Args:
        survey: The survey.
        following: Predictions and spikes of a model, if there is one.
    """
    rows = _picture_rows(survey)
    tracks = _tracks(survey, following)
    info = survey.info
    room = (WIDTH - MARGIN - LEGEND) / COLUMNS
    tall = min(_TALLEST, max(0.5, room * info.height / info.width))
    heights = [*[tall + _GAP] * len(rows), *[_TRACK] * len(tracks)]
    figure = new_figure(WIDTH, _HEAD + sum(heights) + 0.35 * len(tracks) + 0.3, DPI)
    _headline(figure, survey)
    inch = 1 / figure.get_figheight()
    grid = GridSpec(
        len(heights),
        1,
        figure=figure,
        height_ratios=heights,
        left=MARGIN / WIDTH,
        right=1 - 0.1 / WIDTH,
        bottom=0.5 * inch,
        top=1 - (_HEAD + 0.1) * inch,
        hspace=0.18 if rows else 0.4,
    )
    for place, row in enumerate(rows):
        _draw_row(figure, grid[place], survey, row)
    _draw_tracks(figure, grid, len(rows), survey, tracks, following)
    return figure


def sheet_png(figure: Figure) -> bytes:
    """Encode the sheet as a PNG with 16 levels per color channel, less than half the size of 256."""
    canvas: Any = figure.canvas  # an Agg canvas, see new_figure
    canvas.draw()
    levels = np.asarray(canvas.buffer_rgba())[:, :, :3].astype(np.uint16)
    coarse = (levels * 15 + 127) // 255 * 17
    file = io.BytesIO()
    imsave(file, coarse.astype(np.uint8), format="png", pil_kwargs={"optimize": True})
    return file.getvalue()


def _picture_rows(survey: Survey) -> list[str]:
    """The rows of pictures that have content."""
    has = {
        "I-frame": any(column.rgb is not None for column in survey.columns),
        "motion vectors": any(column.motion is not None for column in survey.columns),
        "residual energy": any(column.residual is not None for column in survey.columns),
        "block modes": any(column.modes is not None for column in survey.columns),
    }
    return [row for row in _ROWS if has[row]]


def _tracks(survey: Survey, following: Following | None) -> list[str]:
    tracks = ["bits"] + (["fractions"] if survey.pframes is not None else [])
    return tracks if following is None else [*tracks, "labels", *following.spikes]


def _headline(figure: Figure, survey: Survey) -> None:
    """The file name and a summary of the stream."""
    inch = 1 / figure.get_figheight()
    name = printable(os.path.basename(survey.path))
    name = name if len(name) <= 90 else f"...{name[-87:]}"
    lines = [
        f"{codec_text(survey)}; {size_text(survey)}",
        f"frames: {frames_text(survey)}; GOPs: {gops_text(survey.info.gop_lengths)}",
        f"bitrate: {bitrate_text(survey)}",
        f"parser {survey.parser}; readable: {readable_text(survey)}",
        f"damage: {survey.damage[0]} ({len(survey.damage)} in all)"
        if survey.damage
        else f"prepare: {survey.advice.verdict}; {survey.advice.why}",
    ]
    left = 0.15 / WIDTH
    figure.text(left, 1 - 0.12 * inch, name, fontsize=14, weight="bold", va="top", parse_math=False)
    lines = [_short(printable(line)) for line in lines]
    text = "\n".join(lines)
    figure.text(left, 1 - 0.47 * inch, text, fontsize=9.5, va="top", linespacing=1.45, parse_math=False)


def _short(line: str, most: int = 165) -> str:
    return line if len(line) <= most else f"{line[: most - 3]}..."


def _draw_row(figure: Figure, place: Any, survey: Survey, row: str) -> None:
    widths = [*[(WIDTH - MARGIN - LEGEND) / COLUMNS] * COLUMNS, LEGEND - 0.1]
    cells = GridSpecFromSubplotSpec(1, COLUMNS + 1, place, width_ratios=widths, wspace=0.04)
    legend = figure.add_subplot(cells[COLUMNS])
    legend.axis("off")
    full = _full_color(survey)
    brightest = _brightest(survey)
    image = None
    for number, column in enumerate(survey.columns):
        axes = figure.add_subplot(cells[number])
        image = _draw_cell(axes, column, row, survey, full, brightest) or image
        axes.set_xticks([])
        axes.set_yticks([])
        if number == 0:
            axes.set_ylabel(row.replace(" ", "\n"), fontsize=10)
    _draw_legend(legend, row, survey, full, image)


def _draw_cell(axes: Any, column: Column, row: str, survey: Survey, full: float, brightest: float) -> Any:
    """Draw one picture; returns the image for the color bar, if there is one."""
    shape = (survey.info.height, survey.info.width)
    image, title = None, f"P-frame {column.pframe}"
    if row == "I-frame":
        when = f", {column.iframe / survey.info.fps:.2f} s" if survey.info.fps else ""
        title = f"I-frame {column.iframe}{when}"
        if column.rgb is not None:
            axes.imshow(column.rgb.transpose(1, 2, 0))
        else:
            axes.text(0.5, 0.5, "cannot be decoded", ha="center", transform=axes.transAxes)
    elif row == "motion vectors" and column.motion is not None:
        draw_motion(axes, column.motion, *shape, longest=full)
        title += f": longest {np.hypot(*column.motion).max():.1f} px"
    elif row == "residual energy" and column.residual is not None:
        image = draw_residual(axes, column.residual, shape, top=brightest, gamma=0.5)
        title += f": RMS {np.sqrt(np.square(residual_energy(column.residual)).mean()):.1f}"
    elif row == "block modes" and column.modes is not None:
        draw_modes(axes, column.modes, *shape, legend=False)
    axes.set_title(title, fontsize=9.5, pad=3)
    return image


def _full_color(survey: Survey) -> float:
    """Vector length in pixels with full saturation: a percentile, so that outliers do not fade the others."""
    lengths = [np.hypot(*column.motion).ravel() for column in survey.columns if column.motion is not None]
    moving = np.concatenate([*lengths, np.zeros(0, np.float32)])
    moving = moving[moving > 0]
    return max(1.0, float(np.percentile(moving, 98))) if len(moving) else 1.0


def _brightest(survey: Survey) -> float:
    """Residual energy with the brightest color: a percentile over predicted blocks; intra ones hold none."""
    energies = [
        residual_energy(column.residual)[column.modes != BlockMode.INTRA]
        for column in survey.columns
        if column.residual is not None and column.modes is not None
    ]
    predicted = np.concatenate([*energies, np.zeros(1, np.float32)])
    return max(1.0, float(np.percentile(predicted, 99.5)))


def _draw_legend(axes: Any, row: str, survey: Survey, full: float, image: Any) -> None:
    """Draw the legend of a row."""
    if row == "motion vectors":
        draw_wheel(axes.inset_axes((0.0, 0.38, 0.75, 0.6)))
        text = f"from a block to its\nreference; full color\n{full:.1f} px, white 0"
        axes.text(0.0, 0.32, text, fontsize=8.5, va="top", transform=axes.transAxes)
    elif row == "residual energy" and image is not None:
        bar = axes.inset_axes((0.08, 0.05, 0.12, 0.9))
        axes.figure.colorbar(image, cax=bar, extend="max").set_label(
            f"RMS of a block of {BLOCK}x{BLOCK}\n(gray levels)", fontsize=8.5
        )
        bar.tick_params(labelsize=8)
    elif row == "block modes":
        patches = [
            Patch(fc=color, ec="#666666", label=survey.mode_name(mode, name))
            for mode, (name, color) in MODE_COLORS.items()
            if mode in survey.modes and survey.fraction(mode) is not None
        ]
        axes.legend(
            handles=patches, loc="center left", fontsize=9, frameon=False, borderpad=0, handlelength=1.2
        )


def _draw_tracks(
    figure: Figure, grid: GridSpec, first: int, survey: Survey, tracks: list[str], following: Following | None
) -> None:
    """Draw the tracks over time on a shared axis of frames."""
    shared = None
    fraction = (WIDTH - MARGIN - LEGEND) / (WIDTH - MARGIN - 0.1)
    for place, track in enumerate(tracks, first):
        cells = GridSpecFromSubplotSpec(1, 2, grid[place], width_ratios=[fraction, 1 - fraction], wspace=0.02)
        axes = figure.add_subplot(cells[0], sharex=shared)
        shared = shared or axes
        side = figure.add_subplot(cells[1])
        side.axis("off")
        if track == "bits":
            draw_bits(axes, side, survey)
        elif track == "fractions":
            draw_modes_over_time(axes, side, survey)
        elif following is not None and track == "labels":
            draw_labels(axes, side, survey.info.frame_types, following)
        elif following is not None:
            draw_spikes(axes, side, survey.info.frame_types, track, following.spikes[track])
        axes.tick_params(labelsize=8.5, labelbottom=place == first + len(tracks) - 1)
    assert shared is not None
    shared.set_xlim(-0.5, survey.info.num_frames - 0.5)
    rate = f", {survey.info.fps:.2f} a second" if survey.info.fps else ""
    axes.set_xlabel(f"frame in display order{rate}", fontsize=10)
