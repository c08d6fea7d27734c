"""Data sets of compressed videos, from files to batches."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cvr_lightning.datamodules.catalogue import (
        HMDB51,
        UCF101,
        CompressedVideoDataModule,
        Folder,
        HardMotionShapes,
        Kinetics400,
        Kinetics600,
        MotionShapes,
        Shards,
        SomethingSomethingV2,
        Unlabelled,
    )

__all__ = [
    "HMDB51",
    "UCF101",
    "CompressedVideoDataModule",
    "Folder",
    "HardMotionShapes",
    "Kinetics400",
    "Kinetics600",
    "MotionShapes",
    "Shards",
    "SomethingSomethingV2",
    "Unlabelled",
]


def __getattr__(name: str) -> Any:
    """Load the data sets when the first is asked for.

    A reading process that is spawned imports this package for :mod:`.dataset` alone. It should not load
    Lightning, which would take a hundred megabytes in each of them.
    """
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from cvr_lightning.datamodules import catalogue

    return getattr(catalogue, name)
