"""Plots of compressed clips: motion vectors, residuals, modes and predictions.

The functions take NumPy arrays of one P-frame, on the block grid or in the pixel representation, see
:mod:`cvr_lightning.codec.arrays`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import ListedColormap, PowerNorm, hsv_to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from cvr_lightning.codec.arrays import BLOCK, BlockMode
from cvr_lightning.files.printable import printable

Floats = npt.NDArray[np.float32]

MODE_COLORS = {
    BlockMode.SKIPPED: ("skipped", "#e8e8e8"),
    BlockMode.INTER: ("inter", "#4c8bd6"),
    BlockMode.INTER4V: ("inter, 4 vectors", "#1f4e8c"),
    BlockMode.INTRA: ("intra", "#e0752d"),
    BlockMode.INTRA_PREDICTED: ("intra, predicted", "#f2b184"),
    BlockMode.OUTSIDE: ("no P-frame", "#303030"),
}
RIGHT, WRONG, OTHER = "#8fd3a5", "#f2a59b", "#d5dae0"  # light, as text is drawn over them


@dataclass(frozen=True)
class ClipPicture:
    """One P-frame of a clip with its I-frame and prediction.

    Attributes:
        title: Name of the video.
        subtitle: Segment and P-frame; may be empty.
        iframe: (3, H, W) uint8 RGB, the I-frame in force.
        motion: (2, H8, W8) or (2, H, W), pixels from the current block to its reference.
        residual: (C, H8, W8) DCT coefficients or (3, H, W) differences, in gray levels.
        modes: (H8, W8), a :class:`BlockMode` each.
        probabilities: (classes,) of the clip, or None.
        label: The true class, or -1.
        loss: Cross entropy in nats, or None.
    """

    title: str
    subtitle: str
    iframe: npt.NDArray[np.uint8]
    motion: Floats
    residual: Floats
    modes: npt.NDArray[np.uint8]
    probabilities: Floats | None = None
    label: int = -1
    loss: float | None = None


def draw_clips(clips: Sequence[ClipPicture], class_names: Sequence[str], title: str) -> Figure:
    """Draw one row per clip: I-frame, vectors, residual energy, modes, and the prediction if there is one."""
    has_prediction = any(clip.probabilities is not None for clip in clips)
    columns = 5 if has_prediction else 4
    figure = new_figure(2.65 * columns, 0.75 + 3.0 * len(clips))
    inch = 1 / figure.get_figheight()
    grid = figure.subplots(
        len(clips),
        columns,
        squeeze=False,
        gridspec_kw={
            "left": 0.01,
            "right": 0.99,
            "bottom": 0.15 * inch,
            "top": 1 - 1.0 * inch,
            "wspace": 0.06,
            "hspace": 0.24,
        },
    )
    figure.suptitle(printable(title), parse_math=False, fontsize=14, y=1 - 0.12 * inch, va="top")
    draw_wheel(grid[0, 1].inset_axes((0.83, 0.83, 0.16, 0.16)))
    for axes, clip in zip(grid, clips, strict=True):
        height, width = clip.iframe.shape[1:]
        draw_iframe(axes[0], clip)
        draw_motion(axes[1], clip.motion, height, width)
        draw_residual(axes[2], clip.residual, clip.iframe.shape)
        draw_modes(axes[3], clip.modes, height, width)
        if clip.probabilities is not None:
            draw_prediction(axes[4], clip, class_names)
    return figure


def new_figure(width: float, height: float, dpi: int = 80) -> Figure:
    """A figure of this size in inches, outside of matplotlib's global state."""
    figure = Figure(figsize=(width, height), dpi=dpi)
    FigureCanvasAgg(figure)
    return figure


def draw_iframe(axes: Any, clip: ClipPicture) -> None:
    """Draw the I-frame; a long name is shortened to its end."""
    axes.imshow(clip.iframe.transpose(1, 2, 0), interpolation="nearest")
    name = clip.title if len(clip.title) <= 28 else f"...{clip.title[-25:]}"
    _frame(axes, f"{printable(name)}\nI-frame{', ' if clip.subtitle else ''}{clip.subtitle}")


def draw_motion(axes: Any, motion: Floats, height: int, width: int, longest: float | None = None) -> None:
    """Draw a vector field as colors (hue: direction, saturation: length) and arrows.

    Args:
        axes: Axes to draw on.
        motion: (2, h, w) displacement in pixels of the frame, from the current block to its reference.
        height: Of the frame in pixels.
        width: Of the frame in pixels.
        longest: Length in pixels with full saturation; None for the longest vector of the field.
    """
    own = float(np.hypot(*motion).max(initial=0.0))
    longest = own if longest is None else longest
    axes.imshow(flow_colors(motion, longest), extent=(0, width, height, 0), interpolation="nearest")
    every = max(1, -(-max(motion.shape[1:]) // 16))
    rows = np.arange(every // 2, motion.shape[1], every)
    columns = np.arange(every // 2, motion.shape[2], every)
    dx, dy = motion[:, rows[:, None], columns]
    moving = np.hypot(dx, dy) > 0
    x, y = np.meshgrid(
        (columns + 0.5) * width / motion.shape[2], (rows + 0.5) * height / motion.shape[1], indexing="xy"
    )
    if moving.any():
        # The longest arrow spans one step of the grid; y points down, as in the field.
        scale = longest * motion.shape[2] / (every * width)
        arrows = (x[moving], y[moving], dx[moving], dy[moving])
        axes.quiver(*arrows, angles="xy", scale_units="xy", scale=scale, width=0.006, color="#222222")
    _frame(axes, f"motion vectors, to the reference\nlongest {own:.1f} px")


def flow_colors(motion: Floats, longest: float) -> npt.NDArray[np.float64]:
    """Colors (h, w, 3) of a vector field: hue is direction, saturation is length, white is no motion."""
    dx, dy = motion.astype(np.float64)
    hue = np.arctan2(dy, dx) / (2 * np.pi) % 1.0
    length = np.hypot(dx, dy) / max(longest, 1e-9)
    colors: npt.NDArray[np.float64] = hsv_to_rgb(
        np.stack([hue, np.clip(length, 0, 1), np.ones_like(hue)], axis=-1)
    )
    return colors


def draw_wheel(axes: Any) -> None:
    """Draw the legend of :func:`flow_colors`: a disc of all directions."""
    places = np.linspace(-1, 1, 41)
    disc = np.stack(np.meshgrid(places, places)).astype(np.float32)
    colors = flow_colors(disc, 1.0)
    inside = np.hypot(*disc) <= 1
    axes.imshow(np.dstack([colors, inside]))
    axes.axis("off")


def residual_energy(residual: Floats, samples: int = BLOCK * BLOCK) -> Floats:
    """Root mean square of a residual (h, w) in gray levels.

    The transform is orthonormal, so the sum of a block's squared coefficients over its 64 samples is the mean
    square of its differences, of luma and both chroma planes together.

    Args:
        residual: (C, H8, W8) coefficients; (3, H, W) differences of pixels.
        samples: Number of differences per position: 3 in the pixel representation.
    """
    squares = np.square(residual, dtype=np.float32).sum(axis=0)
    energy: Floats = np.sqrt(squares / samples)
    return energy


def draw_residual(
    axes: Any, residual: Floats, frame: Sequence[int], top: float | None = None, gamma: float = 1.0
) -> Any:
    """Draw the energy of a residual, with its scale in the title.

    Args:
        axes: Axes to draw on.
        residual: (C, H8, W8) or (3, H, W), in gray levels.
        frame: Shape of the frame, which ends in height and width in pixels.
        top: Energy with the brightest color; None for the maximum.
        gamma: Exponent of the scale; below 1, small energies are enhanced.

    Returns:
        The image, to attach a color bar.
    """
    is_pixels = tuple(residual.shape[1:]) == tuple(frame[-2:])
    energy = residual_energy(residual, samples=3 if is_pixels else BLOCK * BLOCK)
    top = max(float(energy.max(initial=0.0)), 1.0) if top is None else top
    extent = (0, frame[-1], frame[-2], 0)
    norm = PowerNorm(gamma, vmin=0, vmax=top)
    image = axes.imshow(energy, cmap="magma", norm=norm, extent=extent, interpolation="nearest")
    _frame(axes, f"residual energy, RMS\nblack 0, brightest {top:.0f} gray levels")
    return image


def draw_modes(axes: Any, modes: npt.NDArray[np.uint8], height: int, width: int, legend: bool = True) -> None:
    """Draw the mode of each block, with the fraction of each mode.

    Args:
        axes: Axes to draw on.
        modes: (H8, W8), a :class:`BlockMode` each.
        height: Of the frame in pixels.
        width: Of the frame in pixels.
        legend: Draw a legend with the fractions.
    """
    colors = ListedColormap([MODE_COLORS[mode][1] for mode in BlockMode])  # by value, not as in the legend
    top = len(BlockMode) - 0.5
    axes.imshow(modes, cmap=colors, vmin=-0.5, vmax=top, extent=(0, width, height, 0))
    fractions = np.bincount(modes.ravel(), minlength=len(BlockMode)) / max(modes.size, 1)
    patches = [
        Patch(facecolor=color, edgecolor="#666666", label=f"{name} {100 * fractions[mode]:.0f} %")
        for mode, (name, color) in MODE_COLORS.items()
        if fractions[mode]
    ]
    if legend:
        axes.legend(handles=patches, loc="lower left", fontsize=9, framealpha=0.85, borderpad=0.3)
    _frame(axes, "macroblock modes\n% of the blocks")


def draw_prediction(axes: Any, clip: ClipPicture, class_names: Sequence[str], top: int = 5) -> None:
    """Draw the top classes as bars, the true class in green, a wrong top class in red."""
    assert clip.probabilities is not None
    order = np.argsort(-clip.probabilities, kind="stable")[:top]
    fraction = 100 * clip.probabilities[order]
    colors = [OTHER] * len(order)
    colors[0] = WRONG if clip.label >= 0 else OTHER
    colors = [RIGHT if index == clip.label else color for index, color in zip(order, colors, strict=True)]
    axes.barh(range(len(order)), fraction, color=colors, height=0.75)
    for row, index in enumerate(order):
        text = printable(f"{class_names[index]}  {fraction[row]:.0f} %")
        axes.text(2, row, text, va="center", fontsize=11, parse_math=False)
    axes.set_xlim(0, 100)
    axes.set_ylim(top - 0.5, -0.5)
    truth = f"true class: {printable(class_names[clip.label])}" if clip.label >= 0 else "no label"
    loss = "" if clip.loss is None else f"\nloss {clip.loss:.2f} nats"
    _frame(axes, f"{truth}{loss or chr(10) + 'probability, %'}")


def _frame(axes: Any, title: str) -> None:
    axes.set_title(title, fontsize=10.5, parse_math=False)  # names may hold dollars
    axes.set_xticks([])
    axes.set_yticks([])
