"""A tiny MotionShapes, written once for all tests of this folder."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.factories import data_options

from cvr_lightning.datamodules import MotionShapes

ONE_SCENE = {"train_scenes": 1, "val_scenes": 1, "test_scenes": 1}
SMALL_CLIPS = {"segments": 2, "pframes": 2, "size": (64, 88), "crop": 64, "num_workers": 0}


@pytest.fixture(scope="session")
def shapes_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a MotionShapes of one scene in each part."""
    root = tmp_path_factory.mktemp("shapes") / "motion_shapes"
    MotionShapes(root, **data_options(ONE_SCENE)).prepare_data()
    return root


@pytest.fixture
def shapes(shapes_root: Path) -> MotionShapes:
    """The tiny MotionShapes with clips of 2 x 2 small frames."""
    return MotionShapes(shapes_root, **data_options(ONE_SCENE, SMALL_CLIPS, batch_size=4))
