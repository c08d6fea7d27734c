"""Action recognition straight from compressed video."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from cvr_lightning.clip import CompressedClip
    from cvr_lightning.codec import CompressedVideoReader
    from cvr_lightning.datamodules.dataset import VideoDataset
    from cvr_lightning.inference.classify import Classifier
    from cvr_lightning.plots.data import plot_subset as plot_subset
    from cvr_lightning.plots.objects import plot_arrays as plot_arrays
    from cvr_lightning.plots.objects import plot_clip as plot_clip
    from cvr_lightning.plots.objects import plot_reader as plot_reader
    from cvr_lightning.training.module import RecognitionModule

__all__ = ["Classifier", "CompressedClip", "CompressedVideoReader", "RecognitionModule", "VideoDataset"]

_MODULES = {
    "Classifier": "cvr_lightning.inference.classify",
    "CompressedClip": "cvr_lightning.clip",
    "CompressedVideoReader": "cvr_lightning.codec",
    "RecognitionModule": "cvr_lightning.training.module",
    "VideoDataset": "cvr_lightning.datamodules.dataset",
    # Used by the plot methods of these classes, whose folders may not import plots.
    "plot_subset": "cvr_lightning.plots.data",
    **dict.fromkeys(("plot_arrays", "plot_clip", "plot_reader"), "cvr_lightning.plots.objects"),
}


def __getattr__(name: str) -> object:
    """Import a public name on first use, since reading a video needs neither torch nor Lightning."""
    if name not in _MODULES:
        raise AttributeError(f"module 'cvr_lightning' has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
