"""The Spiking Temporal Modulator (STM): exchanges information between P-frame spikes and I-frame features.

arXiv 2503.13724 names this component without its equations; this is our reconstruction. I-frame features
shift the neurons' thresholds, and a leaky readout of spikes and currents gates and shifts the I-frame
features.

Shape suffixes: T time steps, M segments of all clips, C channels of the P-path, D of the I-path, H, W
positions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cvr_lightning.models.neurons import AdaptiveLIF, LIFState
from cvr_lightning.models.neurons.equations import at_least_float32
from cvr_lightning.models.neurons.kernels import MAX_LEVELS


@dataclass(frozen=True)
class ModulatorOptions:
    """Options of a modulator. An ablated component has no parameters.

    Attributes:
        spiking: Use spiking neurons; otherwise a :class:`ReLUModulator`, which only uses ``current_readout``.
        levels: Most spikes of a neuron per step.
        adaptation: Recent spikes raise the threshold.
        iframe_term: I-frame features shift the threshold.
        current_readout: Read out currents in addition to spikes.
        checkpoint_activations: See :class:`~cvr_lightning.models.neurons.AdaptiveLIF`.

    Raises:
        ValueError: The number of levels is out of range.
    """

    spiking: bool = True
    levels: int = 1
    adaptation: bool = True
    iframe_term: bool = True
    current_readout: bool = True
    checkpoint_activations: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.levels <= MAX_LEVELS:
            raise ValueError(f"levels={self.levels} must be between 1 and {MAX_LEVELS}")


class ModulatorState(NamedTuple):
    """State of the neurons and of the readouts (M, C, H, W), float32 or float64.

    Attributes:
        neurons: State of the neurons; None without spikes.
        readout: Leaky mean of the spikes.
        current_readout: Leaky mean of the currents; None if not read out.
    """

    neurons: LIFState | None
    readout: Tensor
    current_readout: Tensor | None


class Modulation(NamedTuple):
    """Output of a modulator.

    Attributes:
        spikes: (T, M, C, H, W).
        readout: (M, C or 2 C, H, W).
        state: The final state; None if not requested.
    """

    spikes: Tensor
    readout: Tensor
    state: ModulatorState | None


class TemporalReadout(nn.Module):
    """Leaky means over time of spikes and of input currents, with one decay per channel.

    The mean current is what a neuron that never fires would integrate. It is graded, where a few steps of
    spikes are coarse. It is applied once per segment, after the convolutions, so the layers between are
    driven by spikes.

    Args:
        channels: Channels C of the P-path.
        current_readout: Read out currents as well.

    Attributes:
        out_channels: Channels of the readout.
    """

    def __init__(self, channels: int, current_readout: bool) -> None:
        super().__init__()
        self.out_channels = 2 * channels if current_readout else channels
        self.decay = nn.Parameter(torch.zeros(channels, 1, 1))
        self.current_readout = current_readout

    def forward(
        self, current_TMCHW: Tensor, mean_MCHW: Tensor, mask_TM: Tensor, state: ModulatorState | None
    ) -> tuple[Tensor, Tensor | None]:
        """Return the readout (M, out_channels, H, W) in the currents' dtype, and the mean current.

        Args:
            current_TMCHW: The currents.
            mean_MCHW: Mean of the spikes.
            mask_TM: bool, true where the P-frame exists.
            state: State to continue from; zeros if None.
        """
        if not self.current_readout:
            return mean_MCHW.to(current_TMCHW.dtype), None
        start = None if state is None else state.current_readout
        current_readout_MCHW = self.mean(current_TMCHW, mask_TM, start)
        readout_MCHW = torch.cat([mean_MCHW, current_readout_MCHW], dim=1).to(current_TMCHW.dtype)
        return readout_MCHW, current_readout_MCHW

    def mean(self, values_TMCHW: Tensor, mask_TM: Tensor, start: Tensor | None) -> Tensor:
        """Leaky mean (M, C, H, W) after T steps, at least float32; missing steps leave it unchanged."""
        values_TMCHW = at_least_float32(values_TMCHW)
        mean = torch.zeros_like(values_TMCHW[0]) if start is None else start
        weights = (1 - torch.sigmoid(at_least_float32(self.decay))) * mask_TM[:, :, None, None, None]
        for values_MCHW, weight_MC11 in zip(values_TMCHW, weights, strict=True):
            mean = torch.lerp(mean, values_MCHW, weight_MC11)
        return mean


class SpikingTemporalModulator(nn.Module):
    """Adaptive spiking neurons with I-frame-dependent thresholds and a leaky temporal readout.

    Args:
        channels: Channels C of the P-path.
        iframe_channels: Channels D of the I-frame features at the same resolution.
        options: Options; defaults if None.
    """

    def __init__(self, channels: int, iframe_channels: int, options: ModulatorOptions | None = None) -> None:
        super().__init__()
        options = options or ModulatorOptions()
        self.neurons = AdaptiveLIF(
            channels,
            # A current of two units, half the scale of the convolution's output, gives the most spikes.
            threshold=1.0 if options.levels == 1 else 2.0 / options.levels,
            adaptation=0.2 if options.adaptation else None,
            levels=options.levels,
            checkpoint_activations=options.checkpoint_activations,
        )
        self.readout = TemporalReadout(channels, options.current_readout)
        self.iframe_term: nn.Conv2d | None = None
        if options.iframe_term:
            self.iframe_term = nn.Conv2d(iframe_channels, channels, kernel_size=1)
            # Initialized to zero, so training starts as that of a plain spiking layer.
            nn.init.zeros_(self.iframe_term.weight)
            nn.init.zeros_(self.iframe_term.bias)  # type: ignore[arg-type]

    def forward(
        self,
        current_TMCHW: Tensor,
        iframe_MDHW: Tensor,
        mask_TM: Tensor,
        state: ModulatorState | None = None,
        keep_state: bool = True,
    ) -> Modulation:
        """Run T steps with thresholds shifted by the I-frame.

        Args:
            current_TMCHW: Input current of the neurons.
            iframe_MDHW: Features of each segment's I-frame, at the same resolution.
            mask_TM: bool, true where the P-frame exists.
            state: State to continue from; zeros if None.
            keep_state: Return the final state.
        """
        offset_MCHW = None if self.iframe_term is None else self.iframe_term(iframe_MDHW)
        start = None if state is None else state.neurons
        decay = torch.sigmoid(at_least_float32(self.readout.decay))
        fired = self.neurons(current_TMCHW, mask_TM, offset_MCHW, start, decay, keep_state)
        assert fired.readout is not None  # a decay was given
        readout_MCHW, current_readout_MCHW = self.readout(current_TMCHW, fired.readout, mask_TM, state)
        end = ModulatorState(fired.state, fired.readout, current_readout_MCHW) if keep_state else None
        return Modulation(fired.spikes, readout_MCHW, end)


class ReLUModulator(nn.Module):
    """Replaces the neurons by a ReLU of the current, with the same leaky readout.

    Args:
        channels: Channels C of the P-path.
        current_readout: Read out currents as well.
    """

    def __init__(self, channels: int, current_readout: bool = True) -> None:
        super().__init__()
        self.readout = TemporalReadout(channels, current_readout)

    def forward(
        self,
        current_TMCHW: Tensor,
        iframe_MDHW: Tensor,
        mask_TM: Tensor,
        state: ModulatorState | None = None,
        keep_state: bool = True,
    ) -> Modulation:
        """Apply the ReLU to T steps; see :class:`SpikingTemporalModulator` for the arguments."""
        rectified_TMCHW = F.relu(current_TMCHW) * mask_TM[:, :, None, None, None]
        mean_MCHW = self.readout.mean(rectified_TMCHW, mask_TM, None if state is None else state.readout)
        readout_MCHW, current_readout_MCHW = self.readout(current_TMCHW, mean_MCHW, mask_TM, state)
        end = ModulatorState(None, mean_MCHW, current_readout_MCHW) if keep_state else None
        return Modulation(rectified_TMCHW, readout_MCHW, end)


Modulator = SpikingTemporalModulator | ReLUModulator


def build_modulator(channels: int, iframe_channels: int, options: ModulatorOptions) -> Modulator:
    """Build the modulator of a stage with C channels and D I-frame channels."""
    if not options.spiking:
        return ReLUModulator(channels, options.current_readout)
    return SpikingTemporalModulator(channels, iframe_channels, options)
