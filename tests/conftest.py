"""What several folders of tests share."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_datasets import Clips, encode_clips

CLIPS = Path(__file__).parents[1].parent / "shared" / "clips"


@pytest.fixture(scope="session", autouse=True)
def lightning_logs_are_captured() -> None:
    """Lightning cuts its loggers off where no handler is there before it; releases of pytest differ."""
    for name in ("lightning.fabric", "lightning.pytorch"):
        logging.getLogger(name).propagate = True


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Clips:
    """One scene as MPEG-4 in AVI and MP4 and as VP9 in WebM, encoded once."""
    return encode_clips(tmp_path_factory.mktemp("clips"))


@pytest.fixture(scope="session")
def clip() -> Callable[[str], str]:
    """Path of a real clip by name; the test is skipped where the clips are absent."""

    def find(name: str) -> str:
        if not (CLIPS / name).is_file():
            pytest.skip(f"no real clip {name} in {CLIPS}")
        return str(CLIPS / name)

    return find
