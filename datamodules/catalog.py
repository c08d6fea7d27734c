"""Imports all data sets, so that the command line finds them by name."""

from cvr_lightning.datamodules.base import CompressedVideoDataModule
from cvr_lightning.datamodules.folder import Folder
from cvr_lightning.datamodules.hmdb51 import HMDB51
from cvr_lightning.datamodules.kinetics import Kinetics400, Kinetics600
from cvr_lightning.datamodules.motion_shapes import HardMotionShapes, MotionShapes
from cvr_lightning.datamodules.shards import Shards
from cvr_lightning.datamodules.ssv2 import SomethingSomethingV2
from cvr_lightning.datamodules.ucf101 import UCF101
from cvr_lightning.datamodules.unlabeled import Unlabeled

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
