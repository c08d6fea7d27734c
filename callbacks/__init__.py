"""Callbacks that watch a run; they read public attributes only."""

from cvr_lightning.callbacks.confusion import ConfusionMatrix
from cvr_lightning.callbacks.predictions import Predictions
from cvr_lightning.callbacks.results import Results

__all__ = ["ConfusionMatrix", "Predictions", "Results"]
