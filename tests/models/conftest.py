import pytest
import torch
from helpers.factories import make_clip

from cvr_lightning.clip import CompressedClip
from cvr_lightning.models import CompressedVideoRecognizer


@pytest.fixture
def clip() -> CompressedClip:
    return make_clip()


@pytest.fixture
def recognizer() -> CompressedVideoRecognizer:
    torch.manual_seed(0)
    return CompressedVideoRecognizer(num_classes=5, residual_channels=6).eval()
