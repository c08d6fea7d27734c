import pytest
from helpers.encoders import COARSE, encode
from helpers.passes import Pass


@pytest.fixture(scope="session")
def mpeg4(tmp_path_factory: pytest.TempPathFactory) -> str:
    """MPEG-4 Part 2 at a coarse quantizer, 30 frames of 176x144, GOP 12."""
    return str(encode(tmp_path_factory.mktemp("mpeg4") / "clip.mp4", options=COARSE))


@pytest.fixture(scope="session")
def bframes(tmp_path_factory: pytest.TempPathFactory) -> str:
    """MPEG-4 Part 2 with B-frames in AVI."""
    return str(encode(tmp_path_factory.mktemp("bframes") / "clip.avi", options={**COARSE, "bf": "2"}))


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> Pass:
    """Compares index passes with and without the packets that the container lists."""
    return Pass(monkeypatch)
