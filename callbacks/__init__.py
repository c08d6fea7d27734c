"""Callbacks that watch a run; they read public attributes only."""

from cvr_lightning.callbacks.confusion import ConfusionMatrix
from cvr_lightning.callbacks.energy import EnergyMonitor
from cvr_lightning.callbacks.hparams import HyperParameters
from cvr_lightning.callbacks.panels import ClipPanels
from cvr_lightning.callbacks.predictions import Predictions
from cvr_lightning.callbacks.results import Results
from cvr_lightning.callbacks.sparsity import SpikeSparsity
from cvr_lightning.callbacks.throughput import Throughput

__all__ = [
    "ClipPanels",
    "ConfusionMatrix",
    "EnergyMonitor",
    "HyperParameters",
    "Predictions",
    "Results",
    "SpikeSparsity",
    "Throughput",
]
