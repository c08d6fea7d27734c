from collections.abc import Callable
from pathlib import Path

import pytest
from encoders import COARSE, encode

CLIPS = Path(__file__).parents[2].parent / "shared" / "clips"


@pytest.fixture(scope="session")
def clip() -> Callable[[str], str]:
    """Path of a real clip by name; the test is skipped where the clips are absent."""

    def find(name: str) -> str:
        if not (CLIPS / name).is_file():
            pytest.skip(f"no real clip {name} in {CLIPS}")
        return str(CLIPS / name)

    return find


@pytest.fixture(scope="session")
def mpeg4(tmp_path_factory: pytest.TempPathFactory) -> str:
    """MPEG-4 Part 2 at a coarse quantiser, 30 frames of 176x144, GOP 12."""
    return str(encode(tmp_path_factory.mktemp("mpeg4") / "clip.mp4", options=COARSE))


@pytest.fixture(scope="session")
def bframes(tmp_path_factory: pytest.TempPathFactory) -> str:
    """MPEG-4 Part 2 with B-frames in AVI."""
    return str(encode(tmp_path_factory.mktemp("bframes") / "clip.avi", options={**COARSE, "bf": "2"}))
