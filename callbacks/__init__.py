"""Callbacks that monitor a run through public attributes only."""

from cvr_lightning.callbacks.confusion import ConfusionMatrix
from cvr_lightning.callbacks.ddp_monitor import DDPMonitor
from cvr_lightning.callbacks.energy import EnergyMonitor
from cvr_lightning.callbacks.finite import FiniteGradients
from cvr_lightning.callbacks.hparams import HyperParameters
from cvr_lightning.callbacks.mixed_precision import MixedPrecision
from cvr_lightning.callbacks.panels import ClipPanels
from cvr_lightning.callbacks.predictions import Predictions
from cvr_lightning.callbacks.process_guard import ProcessGuard
from cvr_lightning.callbacks.results import Results
from cvr_lightning.callbacks.sparsity import SpikeSparsity
from cvr_lightning.callbacks.throughput import Throughput

__all__ = [
    "ClipPanels",
    "ConfusionMatrix",
    "DDPMonitor",
    "EnergyMonitor",
    "FiniteGradients",
    "HyperParameters",
    "MixedPrecision",
    "Predictions",
    "ProcessGuard",
    "Results",
    "SpikeSparsity",
    "Throughput",
]
