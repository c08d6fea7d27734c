"""What people import from the package itself, each loading no more than it needs."""

from __future__ import annotations

import subprocess
import sys

import pytest

import cvr_lightning


@pytest.mark.parametrize("name", cvr_lightning.__all__)
def test_public_names_come_from_the_package(name: str) -> None:
    value = getattr(cvr_lightning, name)
    assert value.__name__ == name
    assert name in dir(cvr_lightning)


def test_reading_a_video_loads_no_torch() -> None:
    program = "import sys; from cvr_lightning import CompressedVideoReader; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'cvr_lightning' has no attribute 'Reader'"):
        _ = cvr_lightning.Reader
