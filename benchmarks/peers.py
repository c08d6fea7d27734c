"""Other models of the inference benchmark, in their published shapes with random weights, for speed and cost.

- CoViAR (Wu et al., CVPR 2018): ResNet-152 on 25 I-frames, a ResNet-18 each on 25 vector fields
  and on 25 residuals.
- X3D-S (Feichtenhofer, CVPR 2020): one view of 13 frames at 160x160.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from cvr_lightning.energy.counting import OperationCounter, OperationReport

SEGMENTS = 25
COVIAR_SIDE = 224
X3D_INPUT = (3, 13, 160, 160)


class ResidualBlock(nn.Module):
    """A basic (two 3x3) or bottleneck (1x1, 3x3, 1x1) block of a ResNet."""

    def __init__(self, channels_in: int, width: int, stride: int, bottleneck: bool) -> None:
        super().__init__()
        out = 4 * width if bottleneck else width
        if bottleneck:
            layers = [_conv(channels_in, width, 1), nn.ReLU(), _conv(width, width, 3, stride), nn.ReLU()]
            layers += [_conv(width, out, 1)]
        else:
            layers = [_conv(channels_in, width, 3, stride), nn.ReLU(), _conv(width, out, 3)]
        self.body = nn.Sequential(*layers)
        same = stride == 1 and channels_in == out
        self.shortcut = nn.Identity() if same else _conv(channels_in, out, 1, stride)

    def forward(self, features: Tensor) -> Tensor:
        return torch.relu(self.body(features) + self.shortcut(features))


def _conv(channels_in: int, out: int, kernel: int, stride: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(channels_in, out, kernel, stride, padding=kernel // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(out))


def resnet(channels_in: int, depths: tuple[int, ...], bottleneck: bool, classes: int = 101) -> nn.Sequential:
    """A ResNet (He et al., CVPR 2016) for images of any number of channels."""
    layers: list[nn.Module] = [_conv(channels_in, 64, 7, 2), nn.ReLU(), nn.MaxPool2d(3, 2, padding=1)]
    channels = 64
    for stage, depth in enumerate(depths):
        width = 64 << stage
        for block in range(depth):
            stride = 2 if stage and not block else 1
            layers.append(ResidualBlock(channels, width, stride, bottleneck))
            channels = 4 * width if bottleneck else width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes))


class CoViAR(nn.Module):
    """Three networks whose scores are added, each averaged over its segments."""

    def __init__(self) -> None:
        super().__init__()
        self.iframes = resnet(3, (3, 8, 36, 3), bottleneck=True)
        self.vectors = resnet(2, (2, 2, 2, 2), bottleneck=False)
        self.residuals = resnet(3, (2, 2, 2, 2), bottleneck=False)

    def forward(self, iframes: Tensor, vectors: Tensor, residuals: Tensor) -> Tensor:
        """Scores (classes,) of one video: 25 images of each kind."""
        scores = (self.iframes(iframes), self.vectors(vectors), self.residuals(residuals))
        return torch.stack([score.mean(dim=0) for score in scores]).sum(dim=0)

    @staticmethod
    def inputs() -> tuple[Tensor, ...]:
        """Random images at the published size."""
        return tuple(torch.rand(SEGMENTS, channels, COVIAR_SIDE, COVIAR_SIDE) for channels in (3, 2, 3))


class SqueezeExcitation(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = max(8, -(-channels // 16 // 8) * 8)
        self.fc1, self.fc2 = nn.Conv3d(channels, hidden, 1), nn.Conv3d(hidden, channels, 1)

    def forward(self, features: Tensor) -> Tensor:
        pooled = features.mean(dim=(2, 3, 4), keepdim=True)
        return features * torch.sigmoid(self.fc2(torch.relu(self.fc1(pooled))))


class X3DBlock(nn.Module):
    """Pointwise, depthwise 3x3x3 and pointwise convolutions; every other block squeezes and excites."""

    def __init__(self, channels_in: int, out: int, stride: int, excite: bool) -> None:
        super().__init__()
        inner = int(2.25 * out)
        depthwise = nn.Conv3d(inner, inner, 3, (1, stride, stride), padding=1, groups=inner, bias=False)
        self.body = nn.Sequential(
            *(nn.Conv3d(channels_in, inner, 1, bias=False), nn.BatchNorm3d(inner), nn.ReLU()),
            *(depthwise, nn.BatchNorm3d(inner), SqueezeExcitation(inner) if excite else nn.Identity()),
            *(nn.SiLU(), nn.Conv3d(inner, out, 1, bias=False), nn.BatchNorm3d(out)),
        )
        same = stride == 1 and channels_in == out
        shortcut = nn.Conv3d(channels_in, out, 1, (1, stride, stride), bias=False)
        self.shortcut = nn.Identity() if same else nn.Sequential(shortcut, nn.BatchNorm3d(out))

    def forward(self, features: Tensor) -> Tensor:
        return torch.relu(self.body(features) + self.shortcut(features))


class X3D(nn.Sequential):
    """X3D-S; one view of a video, (1, 3, 13, 160, 160)."""

    def __init__(self, classes: int = 400) -> None:
        space = nn.Conv3d(3, 24, (1, 3, 3), (1, 2, 2), padding=(0, 1, 1), bias=False)
        time = nn.Conv3d(24, 24, (5, 1, 1), padding=(2, 0, 0), groups=24, bias=False)
        layers: list[nn.Module] = [space, time, nn.BatchNorm3d(24), nn.ReLU()]
        channels = 24
        for out, depth in ((24, 3), (48, 5), (96, 11), (192, 7)):
            for block in range(depth):
                layers.append(X3DBlock(channels, out, 1 if block else 2, excite=block % 2 == 0))
                channels = out
        layers += [nn.Conv3d(192, 432, 1, bias=False), nn.BatchNorm3d(432), nn.ReLU()]
        layers += [nn.AdaptiveAvgPool3d(1), nn.Conv3d(432, 2048, 1, bias=False), nn.ReLU()]
        super().__init__(*layers, nn.Flatten(), nn.Linear(2048, classes))

    @staticmethod
    def inputs() -> tuple[Tensor, ...]:
        """Random frames at the published size."""
        return (torch.rand(1, *X3D_INPUT),)


@torch.inference_mode()
def count_peer(model: nn.Module, inputs: Sequence[Tensor]) -> OperationReport:
    """Count its convolutions and linear layers, without operations on zeros, as for our models."""
    with warnings.catch_warnings():
        # Norms, activations and pooling are not counted for any model.
        warnings.filterwarnings("ignore", "no operation count")
        counter = OperationCounter(model, strict=False)
        with counter:
            model(*inputs)
    return counter.report(videos=1)
