"""Callbacks that the command line adds by default."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from lightning.pytorch import Callback

from cvr_lightning.callbacks.confusion import ConfusionMatrix
from cvr_lightning.callbacks.energy import EnergyMonitor
from cvr_lightning.callbacks.finite import FiniteGradients
from cvr_lightning.callbacks.panels import ClipPanels
from cvr_lightning.callbacks.predictions import Predictions
from cvr_lightning.callbacks.process_guard import ProcessGuard
from cvr_lightning.callbacks.results import Results
from cvr_lightning.callbacks.sparsity import SpikeSparsity
from cvr_lightning.callbacks.throughput import Throughput


def default_callbacks(command: str) -> list[Callback]:
    """What a command writes, watches and guards against; the diagnostics of configs/callbacks are beside it.

    Args:
        command: ``fit``, ``validate``, ``test`` or ``predict``.
    """
    if command == "predict":
        return [Predictions()]
    if command == "test":  # Results takes times, in which the others have no part
        return [Results(), EnergyMonitor(), ConfusionMatrix()]
    callbacks: list[Callback] = [EnergyMonitor(), SpikeSparsity(), ConfusionMatrix(), ClipPanels()]
    if command == "fit":
        callbacks += [FiniteGradients(), ProcessGuard()]
        callbacks += [Throughput()]  # last: what the others do in a step is not waiting for data
    return callbacks


def without_replaced(defaults: Iterable[Callback], named: Sequence[Callback]) -> list[Callback]:
    """The default callbacks of whose class, or of a class made from it, the user has named none."""
    return [
        default for default in defaults if not any(isinstance(callback, type(default)) for callback in named)
    ]
