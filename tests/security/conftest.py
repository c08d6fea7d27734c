"""A run of one epoch, whose checkpoint the tests of this folder change."""

from __future__ import annotations

from pathlib import Path

import pytest

from cvr_lightning.cli.main import main
from cvr_lightning.datamodules import MotionShapes


@pytest.fixture(scope="session")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of MotionShapes: ten classes, one video each in train, val and test."""
    root = tmp_path_factory.mktemp("data") / "shapes"
    MotionShapes(root=root, train_scenes=1, val_scenes=1, test_scenes=1).prepare_data()
    return root


@pytest.fixture(scope="session")
def run(shapes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished training run."""
    runs = tmp_path_factory.mktemp("runs")
    main(
        [
            *("fit", "--data=Folder", f"--data.root={shapes}", "--data.batch_size=5", "--run=tiny"),
            *(f"--trainer.default_root_dir={runs}", "--trainer.max_epochs=1"),
            *("--data.sampling.segments=2", "--data.sampling.pframes=2", "--data.sampling.size=[64,88]"),
            *("--data.sampling.crop=64", "--data.num_workers=0"),
            *("--trainer.enable_progress_bar=false", "--trainer.num_sanity_val_steps=0"),
        ]
    )
    return runs / "tiny"
