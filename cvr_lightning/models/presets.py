"""Presets of the recognizer; all numbers are our own choice, see docs/experiments.md."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Preset = Literal["tiny", "lite", "small", "base"]


@dataclass(frozen=True)
class Architecture:
    """Widths and depths of a preset.

    Attributes:
        crop: Side of the frames in pixels that the preset is designed for; any multiple of 32 works.
        iframe_widths: Channels of the I-path at strides 4, 8, 16 and 32.
        iframe_depths: ConvNeXt blocks at each of these strides; None for EfficientNet-Lite0.
        pframe_widths: Channels of the spiking layers at strides 16 and 32.
        width: Channels of a token.
        depth: Blocks of the transformer.
        heads: Attention heads of a block.
        mlp_ratio: Ratio of an MLP's width to ``width``.
    """

    crop: int
    iframe_widths: tuple[int, int, int, int]
    iframe_depths: tuple[int, int, int, int] | None
    pframe_widths: tuple[int, int]
    width: int
    depth: int
    heads: int
    mlp_ratio: int


PRESETS: dict[Preset, Architecture] = {
    "tiny": Architecture(
        crop=160,
        iframe_widths=(16, 24, 48, 64),
        iframe_depths=(1, 1, 1, 1),
        pframe_widths=(32, 64),
        width=64,
        depth=2,
        heads=4,
        mlp_ratio=2,
    ),
    "lite": Architecture(
        crop=160,
        iframe_widths=(24, 40, 112, 320),
        iframe_depths=None,
        pframe_widths=(64, 128),
        width=128,
        depth=2,
        heads=4,
        mlp_ratio=2,
    ),
    "small": Architecture(
        crop=160,
        iframe_widths=(40, 80, 160, 320),
        iframe_depths=(2, 2, 6, 2),
        pframe_widths=(44, 96),
        width=160,
        depth=3,
        heads=5,
        mlp_ratio=2,
    ),
    "base": Architecture(
        crop=224,
        iframe_widths=(64, 128, 256, 512),
        iframe_depths=(2, 2, 6, 2),
        pframe_widths=(88, 176),
        width=384,
        depth=6,
        heads=6,
        mlp_ratio=4,
    ),
}
"""ImageNet weights exist for the I-paths of lite (EfficientNet-Lite0), small (ConvNeXt-Atto) and base
(ConvNeXt-Pico)."""
