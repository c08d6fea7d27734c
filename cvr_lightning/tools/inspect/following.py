"""Predictions and spikes of a model over the course of a video."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from cvr_lightning.codec.container.packets import open_packets
from cvr_lightning.codec.errors import PREPARE, UnsupportedStreamError
from cvr_lightning.inference.streaming import StreamingRecognizer
from cvr_lightning.models.neurons import AdaptiveLIF
from cvr_lightning.plots.spikes import distinct_names


@dataclass(frozen=True)
class Following:
    """Predictions and spikes after each of the video's P P-frames, from the first I-frame on.

    Attributes:
        class_names: Name of each class.
        probabilities: (P, classes).
        spikes: Of each spiking layer (P, C), fraction of a channel's positions that fire; nan for P-frames
            between two segments, which are not read.
    """

    class_names: tuple[str, ...]
    probabilities: npt.NDArray[np.float32]
    spikes: dict[str, npt.NDArray[np.float32]]


def follow(path: str | os.PathLike[str], recognizer: StreamingRecognizer) -> Following:
    """Run a model over a video, as ``cvr watch`` does.

    Raises:
        VideoError: The video is damaged, cannot be read as a stream, or has no P-frame after an I-frame.
    """
    rows: list[npt.NDArray[np.float32]] = []
    fired: dict[str, list[Tensor | None]] = {}
    seen: dict[str, Tensor] = {}
    with ExitStack() as stack:
        for name, layer in _layers(recognizer.recognizer).items():
            fired[name] = []
            stack.callback(layer.register_forward_hook(_keeper(seen, name)).remove)
        packets = stack.enter_context(open_packets(path))
        for prediction in recognizer(packets):
            rows.append(prediction.probabilities.numpy())
            for name in fired:
                fired[name].append(seen.pop(name, None))
    if not rows:
        raise UnsupportedStreamError(os.fspath(path), "it has no P-frame to follow", PREPARE)
    spikes = {name: _stacked(steps) for name, steps in fired.items()}
    return Following(recognizer.class_names, np.array(rows), spikes)


def _layers(model: nn.Module) -> dict[str, nn.Module]:
    layers = {name: layer for name, layer in model.named_modules() if isinstance(layer, AdaptiveLIF)}
    return dict(zip(distinct_names(list(layers)), layers.values(), strict=True))


def _keeper(seen: dict[str, Tensor], name: str) -> Callable[[nn.Module, Any, Any], None]:
    def keep(layer: nn.Module, inputs: Any, output: Any) -> None:
        seen[name] = (output[0] > 0).float().mean(dim=(0, 1, 3, 4))  # of spikes (T, M, C, H, W), T = M = 1

    return keep


def _stacked(steps: list[Tensor | None]) -> npt.NDArray[np.float32]:
    """Stack steps to (P, C), nan where no spikes were recorded."""
    channels = next((len(step) for step in steps if step is not None), 0)
    rows = [np.full(channels, np.nan) if step is None else step.cpu().numpy() for step in steps]
    return np.array(rows, np.float32).reshape(len(steps), channels)
