"""Data sets of compressed videos, from files to batches."""

from cvr_lightning.datamodules.base import CompressedVideoDataModule
from cvr_lightning.datamodules.folder import Folder
from cvr_lightning.datamodules.motion_shapes import MotionShapes

__all__ = ["CompressedVideoDataModule", "Folder", "MotionShapes"]
