"""Callbacks that watch a run; they read public attributes only."""

from cvr_lightning.callbacks.confusion import ConfusionMatrix
from cvr_lightning.callbacks.ddp_monitor import DDPMonitor
from cvr_lightning.callbacks.mixed_precision import MixedPrecision
from cvr_lightning.callbacks.predictions import Predictions
from cvr_lightning.callbacks.results import Results

__all__ = ["ConfusionMatrix", "DDPMonitor", "MixedPrecision", "Predictions", "Results"]
