"""Published ImageNet weights for the I-frame encoder, matched by name and shape: by default a ConvNeXt's.

The I-paths of the presets ``small`` and ``base`` are ConvNeXt-Atto and -Pico (Liu et al., CVPR 2022, in sizes
by R. Wightman), whose weights timm publishes as safetensors: ``timm/convnext_atto.d2_in1k`` and others.
Neither timm nor torchvision is needed to read them.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import torch
from torch import Tensor

from cvr_lightning.errors import WeightsError as WeightsError
from cvr_lightning.models.efficientnet import EfficientNetLite0
from cvr_lightning.models.efficientnet_weights import IMAGENET, find_package, fold, read_pth
from cvr_lightning.models.encoders import IFrameEncoder

HUB = "hub:"
"""Begins a source that is a repository of the Hugging Face hub: ``hub:OWNER/NAME`` or ``...@REVISION``."""
FILE_NAME = "model.safetensors"
INSTALL = "pip install 'cvr-lightning[weights]'"
_SHOWN = 5


def load_imagenet_weights(
    encoder: IFrameEncoder | EfficientNetLite0, source: str | os.PathLike[str]
) -> list[str]:
    """Load all weights of the encoder from a network of its kind that was trained on images.

    A block's layer scale (gamma) is multiplied into its last layer, and batch normalization into the
    convolution before it, which changes nothing.

    Args:
        encoder: The encoder, of the same widths and depths.
        source: Of a ConvNeXt a ``.safetensors`` file with timm's names, or ``hub:OWNER/NAME[@REVISION]``; of
            EfficientNet-Lite0 the ``.pth`` file of its package, or ``imagenet`` for the installed one.

    Returns:
        Names in the file that the encoder has no use for: those of the classifier's head.

    Raises:
        WeightsError: The file is missing or damaged, or its weights are not those of this encoder: some are
            missing, left over or of another shape. Nothing is loaded then.
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
    """The encoder's weights, and the names of those that it has no use for: the classifier's head."""
    head = sorted(name for name in published if name.startswith("head."))
    found = {_our_name(name): tensor for name, tensor in published.items() if name not in head}
    for name in [name for name in found if name.endswith(".gamma")]:
        gamma, block = found.pop(name), name.removesuffix("gamma")
        for part in ("fc2.weight", "fc2.bias"):
            if block + part in found:
                tensor = found[block + part]
                found[block + part] = tensor * gamma.view(-1, *[1] * (tensor.ndim - 1))
    own = encoder.state_dict()
    # timm's small models hold the pointwise layers as 1x1 convolutions.
    found = {
        name: tensor.flatten(1) if name in own and own[name].ndim == 2 else tensor
        for name, tensor in found.items()
    }
    return found, head


def _our_name(name: str) -> str:
    """Our name of timm's weight: here a stage begins with its downsampling, so its blocks count from 1."""
    if match := re.fullmatch(r"stem\.(.+)", name):
        return f"stages.0.0.{match[1]}"
    if match := re.fullmatch(r"stages\.(\d)\.downsample\.(.+)", name):
        return f"stages.{match[1]}.0.{match[2]}"
    if match := re.fullmatch(r"stages\.(\d)\.blocks\.(\d+)\.(?:mlp\.)?(.+)", name):
        return f"stages.{match[1]}.{int(match[2]) + 1}.{match[3]}"
    return name


def _check(path: Path, own: dict[str, Tensor], found: dict[str, Tensor]) -> None:
    problems = [
        ("missing", sorted(own.keys() - found.keys())),
        ("not of this model", sorted(found.keys() - own.keys())),
        (
            "of another shape",
            [
                f"{name} {tuple(found[name].shape)} for {tuple(own[name].shape)}"
                for name in sorted(own.keys() & found.keys())
                if own[name].shape != found[name].shape
            ],
        ),
    ]
    report = [
        f"{len(names)} {what} ({', '.join(names[:_SHOWN])}{', ...' if len(names) > _SHOWN else ''})"
        for what, names in problems
        if names
    ]
    if report:
        raise WeightsError(
            f"{path}: these weights do not fit the I-frame encoder: {'; '.join(report)}; take "
            f"{IMAGENET} for the preset lite, ConvNeXt-Atto for small (timm/convnext_atto.d2_in1k), "
            "-Pico for base (timm/convnext_pico.d1_in1k)"
        )


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a file, by name.

    Raises:
        WeightsError: It is missing or damaged, or safetensors is not installed.
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
        raise WeightsError(f"{path}: not a sound safetensors file ({error}); fetch it again") from error
    return tensors


def fetch(source: str, file_name: str) -> Path:
    """A file of a hub repository, from the local cache where it is there.

    Args:
        source: ``hub:OWNER/NAME`` or ``hub:OWNER/NAME@REVISION``.
        file_name: Name of the file in the repository.

    Raises:
        WeightsError: It cannot be fetched, or huggingface_hub is not installed.
    """
    try:
        from huggingface_hub import hf_hub_download
    except ImportError as error:
        raise WeightsError(f"huggingface_hub is not installed; {INSTALL}") from error
    repository, _, revision = source.removeprefix(HUB).partition("@")
    try:
        return Path(hf_hub_download(repository, file_name, revision=revision or None))
    except Exception as error:  # network, access and naming errors of many kinds
        reason = str(error).strip().splitlines()[0]
        raise WeightsError(
            f"{source}: cannot be fetched ({reason}); download {file_name} yourself and give its path"
        ) from error
