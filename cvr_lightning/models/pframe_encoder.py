"""The spiking P-frame path of the dual encoder.

All widths, depths and connections are our reconstruction; arXiv 2503.13724 only names the components.

Shape suffixes: M segments (of all clips), T P-frames, C channels, H, W positions, D I-frame channels.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cvr_lightning.models.global_motion import GlobalMotionCurrent
from cvr_lightning.models.iframe_encoder import IFrameFeatures
from cvr_lightning.models.modulator import (
    Modulation,
    Modulator,
    ModulatorOptions,
    ModulatorState,
    build_modulator,
)

GAIN = 4.0
"""Initial gain of the convolutions: block fields are sparse and small, and currents are compared with 1."""


class StandardizedConv2d(nn.Conv2d):
    """A convolution without bias whose weights have zero mean and unit gain per output channel.

    It keeps neuron currents at a known scale without batch statistics: a frame's result does not depend on
    its neighbors, zero input gives zero current, and non-negative spikes do not shift the mean.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        stride: Stride.
        gain: Initial gain for an input between 0 and ``levels``.
        levels: Most spikes per step of the neurons before it.
    """

    def __init__(
        self, in_channels: int, out_channels: int, stride: int, gain: float, levels: int = 1
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size=3, stride=stride, padding=1, bias=False)
        self.levels = levels
        self.gain = nn.Parameter(torch.full((out_channels, 1, 1, 1), gain))

    def forward(self, features_MCHW: Tensor) -> Tensor:
        """Convolve with the standardized weights."""
        variance, mean = torch.var_mean(self.weight, dim=(1, 2, 3), keepdim=True, correction=0)
        fan_in = self.weight[0].numel()
        # Dividing here, not in the gain's initial value, trains it alike for any number of levels.
        weight = self.gain / self.levels * (self.weight - mean) * torch.rsqrt(variance * fan_in + 1e-6)
        return F.conv2d(features_MCHW, weight, stride=self.stride, padding=self.padding)


class StreamConv2d(nn.Module):
    """Two parallel standardized convolutions: half of the output channels from motion, half from residuals.

    The last input channel, the intra flag, is an input of both: an intra block has no vector.

    Args:
        motion_channels: Leading input channels that hold motion; the rest hold residuals and the intra flag.
        in_channels: Input channels.
        out_channels: Output channels, an even number.
        stride: Stride of both convolutions.
        gain: Initial gain per output channel.
    """

    def __init__(
        self, motion_channels: int, in_channels: int, out_channels: int, stride: int, gain: float
    ) -> None:
        super().__init__()
        self.motion_channels = motion_channels
        self.motion, self.residual = (
            StandardizedConv2d(channels, out_channels // 2, stride, gain)
            for channels in (motion_channels + 1, in_channels - motion_channels)
        )

    def forward(self, features_MCHW: Tensor) -> Tensor:
        """Convolve motion and residuals separately."""
        vectors_MCHW, is_intra_MCHW = features_MCHW[:, : self.motion_channels], features_MCHW[:, -1:]
        motion_MCHW = self.motion(torch.cat([vectors_MCHW, is_intra_MCHW], dim=1))
        residual_MCHW = self.residual(features_MCHW[:, self.motion_channels :])
        return torch.cat([motion_MCHW, residual_MCHW], dim=1)


class PFrames(NamedTuple):
    """Input of the P-path: T P-frames of M segments.

    Attributes:
        blocks: (T, M, C, H8, W8) normalized fields on the block grid.
        mask: (T, M) bool, true where the P-frame exists.
        global_motion: (T, M, 2) normalized global motion; None if it is not compensated.
    """

    blocks: Tensor
    mask: Tensor
    global_motion: Tensor | None = None


PFrameState = tuple[ModulatorState, ...]


class PFrameFeatures(NamedTuple):
    """Readouts of all layers (M, C, H, W) at stride 32, and the final state (None if not requested)."""

    readout: Tensor
    state: PFrameState | None


class SpikingLayer(nn.Module):
    """A convolution of every P-frame, and a modulator over time.

    Args:
        conv: The convolution.
        modulator: The modulator of its output channels.
    """

    def __init__(self, conv: nn.Module, modulator: Modulator) -> None:
        super().__init__()
        self.conv = conv
        self.modulator = modulator

    def forward(
        self,
        input_TMCHW: Tensor,
        iframe_MDHW: Tensor,
        mask_TM: Tensor,
        state: ModulatorState | None,
        keep_state: bool,
        shift_TMCHW: Tensor | None = None,
    ) -> Modulation:
        """Convolve and modulate.

        Args:
            input_TMCHW: Fields of the P-frames, or spikes.
            iframe_MDHW: Features of each segment's I-frame, at the output's resolution.
            mask_TM: bool, true where the P-frame exists.
            state: State to continue from; zeros if None.
            keep_state: Return the final state.
            shift_TMCHW: Added to the currents.
        """
        flat = self.conv(input_TMCHW.flatten(0, 1))
        current_TMCHW = flat.view(*input_TMCHW.shape[:2], *flat.shape[1:])
        if shift_TMCHW is not None:
            # The currents are float16 or bfloat16 under autocast.
            current_TMCHW = current_TMCHW + shift_TMCHW.to(current_TMCHW.dtype)
        fired: Modulation = self.modulator(current_TMCHW, iframe_MDHW, mask_TM, state, keep_state)
        return fired


class PFrameEncoder(nn.Module):
    """Four spiking layers from the block grid (stride 8) to the token grid: two at stride 16, two at 32.

    Args:
        in_channels: Channels of the block-grid input.
        motion_channels: Leading channels that hold motion and drive their own neurons; None to mix all
            channels.
        widths: Channels of the layers at stride 16, and of those at stride 32.
        iframe_widths: Channels of the I-frame features at strides 16 and 32.
        global_motion: Feed global motion to the first layer as a separate current.
        modulator: Options of the modulators of all layers; defaults if None.
    """

    def __init__(
        self,
        in_channels: int,
        motion_channels: int | None,
        widths: tuple[int, int],
        iframe_widths: tuple[int, int],
        global_motion: bool = True,
        modulator: ModulatorOptions | None = None,
    ) -> None:
        super().__init__()
        options = modulator or ModulatorOptions()
        levels = options.levels if options.spiking else 1
        low, high = widths
        first = (
            StandardizedConv2d(in_channels, low, 2, GAIN)
            if motion_channels is None
            else StreamConv2d(motion_channels, in_channels, low, 2, GAIN)
        )
        self.global_motion_current = GlobalMotionCurrent(low) if global_motion else None

        def layer(conv: nn.Module, stage: int) -> SpikingLayer:
            return SpikingLayer(conv, build_modulator(widths[stage], iframe_widths[stage], options))

        self.layers = nn.ModuleDict(
            {
                "layer1": layer(first, 0),
                "layer2": layer(StandardizedConv2d(low, low, 1, GAIN, levels), 0),
                "layer3": layer(StandardizedConv2d(low, high, 2, GAIN, levels), 1),
                "layer4": layer(StandardizedConv2d(high, high, 1, GAIN, levels), 1),
            }
        )
        self.out_channels = 2 * (low + high) * (2 if options.current_readout else 1)

    def forward(
        self,
        pframes: PFrames,
        iframe: IFrameFeatures,
        state: PFrameState | None = None,
        keep_state: bool = True,
    ) -> PFrameFeatures:
        """Encode P-frames.

        Args:
            pframes: The P-frames of each segment.
            iframe: Features of the I-frame in force of each segment, (M, ...).
            state: State to continue from; zeros if None.
            keep_state: Return the final state.
        """
        shift = None
        if self.global_motion_current is not None:
            shift = self.global_motion_current(pframes.global_motion)
        grids = (iframe.stride16, iframe.stride16, iframe.stride32, iframe.stride32)
        before = (None,) * len(self.layers) if state is None else state
        spikes, fired = pframes.blocks, []
        for layer, grid, start in zip(self.layers.values(), grids, before, strict=True):
            fired.append(layer(spikes, grid, pframes.mask, start, keep_state, shift))
            spikes, shift = fired[-1].spikes, None
        pooled = [F.avg_pool2d(layer.readout, kernel_size=2) for layer in fired[:2]]
        readout = torch.cat([*pooled, *(layer.readout for layer in fired[2:])], dim=1)
        return PFrameFeatures(readout, tuple(layer.state for layer in fired) if keep_state else None)
