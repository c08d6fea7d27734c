"""The I-frame path of the dual encoder.

All widths, depths and connections are our reconstruction; arXiv 2503.13724 only names the components.

Shape suffixes: K distinct I-frames, C channels, H, W positions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cvr_lightning.errors import CropError

STRIDE = 32
"""Side of a token in pixels."""
CACHED = 2**18
"""Input elements per thread whose activations of one stage fit into a CPU core's cache."""


def check_frame_size(height: int, width: int) -> None:
    """Check that a frame size is a multiple of the token stride.

    Raises:
        CropError: It is not.
    """
    if height % STRIDE or width % STRIDE:
        raise CropError(
            f"frames of {width}x{height} pixels are not a multiple of {STRIDE}: choose a sampling.crop "
            f"(data.test_crop) that is a multiple of {STRIDE}"
        )


class LayerNorm2d(nn.LayerNorm):
    """Layer normalization over the channels of (M, C, H, W)."""

    def forward(self, features_MCHW: Tensor) -> Tensor:
        """Normalize each position over its channels."""
        return super().forward(features_MCHW.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class ConvNeXtBlock(nn.Module):
    """Depthwise 7x7 convolution and a pointwise MLP, with a residual connection (Liu et al., CVPR 2022)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv_dw = nn.Conv2d(channels, channels, kernel_size=7, padding=3, groups=channels)
        self.norm = nn.LayerNorm(channels, eps=1e-6)
        self.fc1 = nn.Linear(channels, 4 * channels)
        self.fc2 = nn.Linear(4 * channels, channels)

    def forward(self, features_MCHW: Tensor) -> Tensor:
        """Return features of the same shape."""
        hidden_MHWC = self.norm(self.conv_dw(features_MCHW).permute(0, 2, 3, 1))
        mixed_MHWC: Tensor = self.fc2(F.gelu(self.fc1(hidden_MHWC)))
        return features_MCHW + mixed_MHWC.permute(0, 3, 1, 2)


class IFrameFeatures(NamedTuple):
    """I-frame features at strides 16 and 32, the grids of the P-path's layers."""

    stride16: Tensor
    stride32: Tensor


class IFrameEncoder(nn.Module):
    """A small ConvNeXt with features at strides 16 and 32.

    Args:
        widths: Channels at strides 4, 8, 16 and 32.
        depths: Blocks at each of these strides.
    """

    image_mean, image_std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    """ImageNet normalization for RGB in [0, 1]."""

    def __init__(self, widths: Sequence[int], depths: Sequence[int]) -> None:
        super().__init__()
        stages: list[nn.Module] = []
        previous, patch = 3, 4
        for width, depth in zip(widths, depths, strict=True):
            patchify = nn.Conv2d(previous, width, kernel_size=patch, stride=patch)
            if stages:
                downsample = nn.Sequential(LayerNorm2d(previous, eps=1e-6), patchify)
            else:  # the input image is normalized
                downsample = nn.Sequential(patchify, LayerNorm2d(width, eps=1e-6))
            stages.append(nn.Sequential(downsample, *(ConvNeXtBlock(width) for _ in range(depth))))
            previous, patch = width, 2
        self.stages = nn.ModuleList(stages)

    def forward(self, images_KCHW: Tensor) -> IFrameFeatures:
        """Encode normalized images (K, 3, H, W), H and W multiples of 32."""
        features = []
        hidden = images_KCHW.contiguous(memory_format=torch.channels_last)  # faster on every device
        for stage in self.stages:
            hidden = in_parts(stage, hidden)
            features.append(hidden)
        return IFrameFeatures(features[-2], features[-1])


def in_parts(stage: nn.Module, images_KCHW: Tensor) -> Tensor:
    """Run a stage; for inference on the CPU, on a few images at a time.

    Small chunks keep activations in the cache and avoid allocating memory for a whole batch in every layer.
    """
    # Do not ask for the number of images during export: it would become a constant.
    is_plain = not (torch.is_grad_enabled() or torch.compiler.is_compiling())
    if is_plain and images_KCHW.device.type == "cpu":
        at_once = max(1, torch.get_num_threads() * CACHED // images_KCHW.shape[1:].numel())
        return torch.cat([stage(part) for part in torch.split(images_KCHW, at_once)])
    whole: Tensor = stage(images_KCHW)
    return whole
