"""The device of the tests marked ``gpu``."""

from __future__ import annotations

import os

import pytest
import torch


@pytest.fixture(scope="session")
def device() -> torch.device:
    """A CUDA device, or the one that CVR_TEST_DEVICE names; without either, the test is skipped."""
    name = os.environ.get("CVR_TEST_DEVICE") or ("cuda" if torch.cuda.is_available() else None)
    if name is None:
        pytest.skip("no GPU that PyTorch can use; CVR_TEST_DEVICE=cpu runs this test on the CPU")
    return torch.device(name)


@pytest.fixture
def card(device: torch.device) -> torch.device:
    """A CUDA device, whose allocator counts its memory."""
    if device.type != "cuda":
        pytest.skip("no CUDA device: its allocator counts the memory")
    return device
