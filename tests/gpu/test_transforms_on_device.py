"""Augmentation and crops on the device give what they give on the CPU."""

import numpy as np
import pytest
import torch
from helpers.factories import COEFFICIENTS, assert_same, random_clip

from cvr_lightning.datamodules.pipelines import Augmentation, EvalTransform, TrainTransform
from cvr_lightning.datamodules.sampling import ClipSampling

pytestmark = pytest.mark.gpu
SAMPLING = ClipSampling(segments=3, pframes=2, size=(64, 88), crop=48, coefficients=COEFFICIENTS)
EXACT = ("iframe_index", "modes", "mask", "age", "label", "video", "view")


def generators(count: int) -> list[np.random.Generator]:
    return [np.random.default_rng(seed) for seed in range(count)]


@pytest.mark.parametrize("crops", [1, 3, 10])
def test_views_on_the_device_are_those_of_the_cpu_bit_for_bit(device, crops: int) -> None:
    clip = random_clip()
    transform = EvalTransform(ClipSampling(**{**SAMPLING.to_dict(), "crops": crops}))
    assert_same(transform(clip.to(device)).to(torch.device("cpu")), transform(clip))


@pytest.mark.parametrize(
    "augmentation",
    [
        Augmentation(color_jitter=0.0),
        Augmentation(scale_jitter=(1.0, 0.75)),
        Augmentation(mixup=0.5),
        Augmentation(cutmix=1.0, modality_dropout=0.5),
    ],
)
def test_augmentation_on_the_device_is_that_of_the_cpu(device, augmentation: Augmentation) -> None:
    clip = random_clip(batch=4)
    transform = TrainTransform(SAMPLING, augmentation, num_classes=5)
    expected = dict(transform(clip, generators(4)).tensors())
    for name, found in transform(clip.to(device), generators(4)).tensors():
        assert found.device.type == device.type, name
        tolerance = 0.0 if name in EXACT else 1e-5
        torch.testing.assert_close(
            found.cpu(), expected[name], rtol=tolerance, atol=100 * tolerance, msg=name
        )
