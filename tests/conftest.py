"""What several folders of tests share."""

from __future__ import annotations

import pytest
from tiny_datasets import Clips, encode_clips


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Clips:
    """One scene as MPEG-4 in AVI and MP4 and as VP9 in WebM, encoded once."""
    return encode_clips(tmp_path_factory.mktemp("clips"))
