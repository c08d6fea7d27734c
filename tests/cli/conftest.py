"""A tiny data set of real MPEG-4 files, and a run trained on it."""

from pathlib import Path

import lightning.pytorch  # noqa: F401 - its log handler keeps the stderr of its import, not that of a test
import pytest
from helpers.tiny_runs import fit_arguments

from cvr_lightning.cli.main import main


@pytest.fixture(scope="session")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of MotionShapes: ten classes, one video each in train, val and test."""
    from cvr_lightning.datamodules import MotionShapes

    root = tmp_path_factory.mktemp("data") / "shapes"
    MotionShapes(root=root, train_scenes=2, val_scenes=1, test_scenes=1).prepare_data()
    return root


@pytest.fixture(scope="session")
def run(shapes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished training run."""
    runs = tmp_path_factory.mktemp("runs")
    main(fit_arguments(shapes, runs))
    return runs / "tiny"
