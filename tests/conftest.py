"""What several folders of tests share."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest
from helpers.real_clips import REAL_CLIPS
from helpers.tiny_datasets import Clips, encode_clips


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
        path = REAL_CLIPS / "clips" / name
        if not path.is_file():
            pytest.skip(f"no real clip {name}: CVR_TEST_CLIPS names no folder that holds it")
        return str(path)

    return find
