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
    """Callbacks that write, monitor and protect a run; configs/callbacks adds diagnostics.

    Args:
        command: ``fit``, ``validate``, ``test`` or ``predict``.
    """
    if command == "predict":
        return [Predictions()]
    if command == "test":  # Results first, so that its times exclude the other callbacks
        return [Results(), EnergyMonitor(), ConfusionMatrix()]
    callbacks: list[Callback] = [EnergyMonitor(), SpikeSparsity(), ConfusionMatrix(), ClipPanels()]
    if command == "fit":
        callbacks += [FiniteGradients(), ProcessGuard()]
        callbacks += [Throughput()]  # last, so that the others' time does not count as waiting for data
    return callbacks


def without_replaced(defaults: Iterable[Callback], named: Sequence[Callback]) -> list[Callback]:
    """The default callbacks without those whose class, or a subclass of it, the user has configured."""
    return [
        default for default in defaults if not any(isinstance(callback, type(default)) for callback in named)
    ]
