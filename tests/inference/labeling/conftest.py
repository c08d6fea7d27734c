"""A tiny checkpoint and a folder of videos to label."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.encoders import encode
from helpers.labels import NAMES, SAMPLING
from helpers.tiny_runs import untrained_checkpoint


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(untrained_checkpoint(tmp_path_factory.mktemp("checkpoint") / "a.ckpt", NAMES, SAMPLING))


@pytest.fixture(scope="session")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eleven readable videos, three of which no parser reads, and one that is none."""
    root = tmp_path_factory.mktemp("videos")
    (root / "more").mkdir()
    for number in range(8):
        encode(root / f"{number}.avi", (96, 64), 10 + number)
    for number in range(3):
        encode(root / "more" / f"{number}.mpg", (96, 64), 14, "mpeg1video")
    (root / "broken.mp4").write_bytes(b"no video")
    return root
