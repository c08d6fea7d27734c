"""Real H.264 streams."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.real_clips import REAL_CLIPS


@pytest.fixture(scope="session")
def h264_streams() -> Callable[[str], Path]:
    """A folder of streams by name; the test is skipped where it is absent."""

    def find(name: str) -> Path:
        folder = REAL_CLIPS / "h264" / name
        if not folder.is_dir():
            pytest.skip(f"no H.264 streams {name}: CVR_TEST_CLIPS names no folder that holds them")
        return folder

    return find
