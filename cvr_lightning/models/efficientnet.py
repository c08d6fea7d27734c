"""EfficientNet-Lite0: the I-path with ImageNet weights from a Python package.

EfficientNet (Tan and Le, ICML 2019) without squeeze-and-excitation and with ReLU6: R. Liu, "Higher accuracy
on vision models with EfficientNet-Lite" (TensorFlow blog, 2020). The published batch normalization is folded
into the convolutions, so a frame's features never depend on other frames.

Shape suffixes: K distinct I-frames, M images, C channels, H, W positions.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cvr_lightning.models.iframe_encoder import IFrameFeatures, in_parts

_STEM = 32
_STAGES = (
    ((1, 3, 1, 1, 16),),
    ((2, 3, 2, 6, 24),),
    ((2, 5, 2, 6, 40),),
    ((3, 3, 2, 6, 80), (3, 5, 1, 6, 112)),
    ((4, 5, 2, 6, 192), (1, 3, 1, 6, 320)),
)
"""Per stage at strides 2, 4, 8, 16 and 32: blocks, kernel, stride of the first block, expansion, channels."""


class SameConv2d(nn.Conv2d):
    """Convolution with TensorFlow's padding: at stride 2, one less at the start than at the end."""

    def forward(self, features_MCHW: Tensor) -> Tensor:
        """Convolve; at stride 2, H and W must be even."""
        excess = self.kernel_size[0] - self.stride[0]
        before, after = excess // 2, excess - excess // 2
        padded = F.pad(features_MCHW, (before, after, before, after)) if excess else features_MCHW
        return F.conv2d(padded, self.weight, self.bias, self.stride, 0, 1, self.groups)


class Stem(SameConv2d):
    """The first convolution, followed by a ReLU6."""

    def forward(self, images_KCHW: Tensor) -> Tensor:
        """Return features at stride 2."""
        return F.relu6(super().forward(images_KCHW))


class InvertedBottleneck(nn.Module):
    """Expansion, depthwise convolution and projection, with a residual connection where shapes allow.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel: Side of the depthwise kernel.
        stride: Its stride.
        expansion: Ratio of hidden to input channels; 1 omits the expansion layer.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = expansion * in_channels
        self.expand = SameConv2d(in_channels, hidden, 1) if expansion > 1 else None
        self.depthwise = SameConv2d(hidden, hidden, kernel, stride, groups=hidden)
        self.project = SameConv2d(hidden, out_channels, 1)
        self.is_residual = stride == 1 and in_channels == out_channels

    def forward(self, features_MCHW: Tensor) -> Tensor:
        """Return features of ``out_channels`` channels."""
        hidden = features_MCHW if self.expand is None else F.relu6(self.expand(features_MCHW))
        projected: Tensor = self.project(F.relu6(self.depthwise(hidden)))
        return features_MCHW + projected if self.is_residual else projected


class EfficientNetLite0(nn.Module):
    """EfficientNet-Lite0 features at strides 16 and 32, for published weights."""

    image_mean, image_std = (127 / 255,) * 3, (128 / 255,) * 3
    """Image normalization of the published weights, for RGB in [0, 1]."""

    def __init__(self) -> None:
        super().__init__()
        channels = _STEM
        stages: list[nn.Module] = []
        for groups in _STAGES:
            blocks: list[nn.Module] = []
            if not stages:
                blocks.append(Stem(3, _STEM, 3, stride=2))
            for count, kernel, stride, expansion, width in groups:
                for number in range(count):
                    first = stride if number == 0 else 1
                    blocks.append(InvertedBottleneck(channels, width, kernel, first, expansion))
                    channels = width
            stages.append(nn.Sequential(*blocks))
        self.stages = nn.ModuleList(stages)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight)
                nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def forward(self, images_KCHW: Tensor) -> IFrameFeatures:
        """Encode normalized images (K, 3, H, W), H and W multiples of 32."""
        hidden = images_KCHW.contiguous(memory_format=torch.channels_last)
        features = []
        for stage in self.stages:
            hidden = in_parts(stage, hidden)
            features.append(hidden)
        return IFrameFeatures(features[-2], features[-1])
