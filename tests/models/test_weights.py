"""Published weights, against the encoder that they belong to, written out in this file."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

from cvr_lightning.errors import WeightsError
from cvr_lightning.models.iframe_encoder import IFrameEncoder
from cvr_lightning.models.weights import load_imagenet_weights

WIDTHS, DEPTHS = (8, 12, 16, 24), (1, 2, 1, 1)


def published(seed: int = 0) -> dict[str, Tensor]:
    """Random weights with timm's names and shapes: 1x1 convolutions, a scale for each block."""
    generator = torch.Generator().manual_seed(seed)
    shapes: dict[str, tuple[int, ...]] = {"stem.0.weight": (WIDTHS[0], 3, 4, 4), "stem.0.bias": (WIDTHS[0],)}
    shapes |= {"stem.1.weight": (WIDTHS[0],), "stem.1.bias": (WIDTHS[0],)}
    for stage, (width, depth) in enumerate(zip(WIDTHS, DEPTHS, strict=True)):
        if stage:
            before, place = WIDTHS[stage - 1], f"stages.{stage}.downsample"
            shapes |= {f"{place}.0.weight": (before,), f"{place}.0.bias": (before,)}
            shapes |= {f"{place}.1.weight": (width, before, 2, 2), f"{place}.1.bias": (width,)}
        for block in range(depth):
            place = f"stages.{stage}.blocks.{block}"
            shapes |= {f"{place}.gamma": (width,)}
            shapes |= {f"{place}.conv_dw.weight": (width, 1, 7, 7), f"{place}.conv_dw.bias": (width,)}
            shapes |= {f"{place}.norm.weight": (width,), f"{place}.norm.bias": (width,)}
            shapes |= {
                f"{place}.mlp.fc1.weight": (4 * width, width, 1, 1),
                f"{place}.mlp.fc1.bias": (4 * width,),
            }
            shapes |= {f"{place}.mlp.fc2.weight": (width, 4 * width, 1, 1), f"{place}.mlp.fc2.bias": (width,)}
    shapes |= {"head.norm.weight": (WIDTHS[3],), "head.norm.bias": (WIDTHS[3],)}
    shapes |= {"head.fc.weight": (10, WIDTHS[3]), "head.fc.bias": (10,)}
    return {name: 0.3 * torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def norm(features: Tensor, weights: dict[str, Tensor], place: str) -> Tensor:
    scale, shift = weights[f"{place}.weight"], weights[f"{place}.bias"]
    return F.layer_norm(features.movedim(1, -1), scale.shape, scale, shift, 1e-6).movedim(-1, 1)


def conv(features: Tensor, weights: dict[str, Tensor], place: str, **options: int) -> Tensor:
    return F.conv2d(features, weights[f"{place}.weight"], weights[f"{place}.bias"], **options)


def features_of(weights: dict[str, Tensor], images: Tensor) -> tuple[Tensor, Tensor]:
    hidden = norm(conv(images, weights, "stem.0", stride=4), weights, "stem.1")
    stages = []
    for stage, (width, depth) in enumerate(zip(WIDTHS, DEPTHS, strict=True)):
        if stage:
            place = f"stages.{stage}.downsample"
            hidden = conv(norm(hidden, weights, f"{place}.0"), weights, f"{place}.1", stride=2)
        for block in range(depth):
            place = f"stages.{stage}.blocks.{block}"
            inner = norm(
                conv(hidden, weights, f"{place}.conv_dw", padding=3, groups=width), weights, f"{place}.norm"
            )
            inner = conv(F.gelu(conv(inner, weights, f"{place}.mlp.fc1")), weights, f"{place}.mlp.fc2")
            hidden = hidden + weights[f"{place}.gamma"][:, None, None] * inner
        stages.append(hidden)
    return stages[2], stages[3]


def test_features_are_those_of_the_published_model(tmp_path: Path) -> None:
    weights = published()
    save_file(weights, tmp_path / "model.safetensors")
    encoder = IFrameEncoder(WIDTHS, DEPTHS)
    left = load_imagenet_weights(encoder, tmp_path / "model.safetensors")
    assert left == ["head.fc.bias", "head.fc.weight", "head.norm.bias", "head.norm.weight"]
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        for ours, expected in zip(encoder(images), features_of(weights, images), strict=True):
            torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-4)


def test_weights_that_do_not_fit_are_named_and_nothing_is_loaded(tmp_path: Path) -> None:
    weights = published()
    del weights["stages.0.blocks.0.norm.bias"]
    weights["stages.1.blocks.7.norm.bias"] = torch.zeros(12)
    weights["stem.0.weight"] = torch.zeros(9, 3, 4, 4)
    path = tmp_path / "other.safetensors"
    save_file(weights, path)
    encoder = IFrameEncoder(WIDTHS, DEPTHS)
    before = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    with pytest.raises(WeightsError) as caught:
        load_imagenet_weights(encoder, path)
    message = str(caught.value)
    assert "1 missing (stages.0.1.norm.bias)" in message
    assert "1 not of this model (stages.1.8.norm.bias)" in message
    assert "1 of another shape (stages.0.0.0.weight (9, 3, 4, 4) for (8, 3, 4, 4))" in message
    assert "convnext_atto" in message
    for name, tensor in encoder.state_dict().items():
        assert torch.equal(tensor, before[name])


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    encoder = IFrameEncoder(WIDTHS, DEPTHS)
    with pytest.raises(WeightsError, match=r"none\.safetensors: no such file"):
        load_imagenet_weights(encoder, tmp_path / "none.safetensors")
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"not a header")
    with pytest.raises(WeightsError, match=r"broken\.safetensors: not a valid safetensors file"):
        load_imagenet_weights(encoder, broken)
