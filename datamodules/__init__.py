"""Data sets of compressed videos, from files to batches."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cvr_lightning.datamodules.catalog import (
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
        Unlabeled,
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
    "Unlabeled",
]


def __getattr__(name: str) -> Any:
    """Import the data sets on first access.

    Spawned reading processes import this package for :mod:`.dataset` only and should not load Lightning,
    which takes a hundred megabytes each.
    """
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from cvr_lightning.datamodules import catalog

    return getattr(catalog, name)
