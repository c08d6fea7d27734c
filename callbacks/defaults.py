"""Callbacks that the command line adds by default."""

from __future__ import annotations

from lightning.pytorch import Callback

from cvr_lightning.callbacks.confusion import ConfusionMatrix
from cvr_lightning.callbacks.ddp_monitor import DDPMonitor
from cvr_lightning.callbacks.energy import EnergyMonitor
from cvr_lightning.callbacks.hparams import HyperParameters
from cvr_lightning.callbacks.mixed_precision import MixedPrecision
from cvr_lightning.callbacks.panels import ClipPanels
from cvr_lightning.callbacks.predictions import Predictions
from cvr_lightning.callbacks.results import Results
from cvr_lightning.callbacks.sparsity import SpikeSparsity
from cvr_lightning.callbacks.throughput import Throughput


def default_callbacks(command: str) -> list[Callback]:
    """Default callbacks of a command; those in the configuration replace callbacks of the same class."""
    callbacks: list[Callback] = [ConfusionMatrix(), Results(), Predictions()]
    callbacks += [EnergyMonitor(), HyperParameters()]
    if command in ("fit", "validate"):
        callbacks += [SpikeSparsity(), ClipPanels()]
    if command == "fit":
        callbacks += [MixedPrecision(), DDPMonitor()]
        callbacks += [Throughput()]  # last, so the others' time does not count as data wait
    return callbacks
