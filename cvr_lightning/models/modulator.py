"""The Spiking Temporal Modulator (STM): spikes over time, and what they say to the I-frame.

Named after the part of arXiv 2503.13724 whose inner working is not published; this is our reconstruction. It
carries information across the two domains both ways: the I-frame moves the thresholds of the neurons, and a
leaky read-out of their spikes gates and shifts the I-frame's features.

Shape suffixes: T time steps, M segments of all clips, C channels of the P-path, D of the I-path, H, W
positions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cvr_lightning.models.lif_plain import leaky_mean
from cvr_lightning.models.neurons import AdaptiveLIF, LIFState
from cvr_lightning.models.surrogates import Surrogate


@dataclass(frozen=True)
class ModulatorOptions:
    """What a modulator is made of. A part that is left out has no parameters either.

    Attributes:
        spiking: Neurons that spike; otherwise a :class:`ReLUModulator`, to which nothing else here applies.
        adaptation: Recent spikes raise the threshold.
        iframe_term: The I-frame moves the threshold.
        surrogate: What stands in for the derivative of a spike.
        recompute: See :class:`~cvr_lightning.models.neurons.AdaptiveLIF`.
    """

    spiking: bool = True
    adaptation: bool = True
    iframe_term: bool = True
    surrogate: Surrogate = "arctangent"
    recompute: bool = False


class ModulatorState(NamedTuple):
    """State of the neurons, None where they have none, and of the read-out (M, C, H, W), float32."""

    neurons: LIFState | None
    readout: Tensor


class Modulation(NamedTuple):
    """What a modulator gives: spikes (T, M, C, H, W), read-out (M, C, H, W) and the final state."""

    spikes: Tensor
    readout: Tensor
    state: ModulatorState


class SpikingTemporalModulator(nn.Module):
    """Adaptive spiking neurons whose thresholds follow the I-frame, with a leaky temporal read-out.

    Args:
        channels: Channels C of the P-path.
        iframe_channels: Channels D of the I-frame features at the same resolution.
        options: What it is made of; the whole of it where None.
    """

    def __init__(self, channels: int, iframe_channels: int, options: ModulatorOptions | None = None) -> None:
        super().__init__()
        options = options or ModulatorOptions()
        self.neurons = AdaptiveLIF(
            channels,
            adaptation=0.2 if options.adaptation else None,
            surrogate=options.surrogate,
            recompute=options.recompute,
        )
        self.readout_decay = nn.Parameter(torch.zeros(channels, 1, 1))
        self.iframe_term: nn.Conv2d | None = None
        if options.iframe_term:
            self.iframe_term = nn.Conv2d(iframe_channels, channels, kernel_size=1)
            # The I-frame starts without a say, so that early training is that of a plain spiking layer.
            nn.init.zeros_(self.iframe_term.weight)
            nn.init.zeros_(self.iframe_term.bias)  # type: ignore[arg-type]

    def forward(
        self,
        current_TMCHW: Tensor,
        iframe_MDHW: Tensor,
        mask_TM: Tensor,
        state: ModulatorState | None = None,
    ) -> Modulation:
        """Spike over T steps under the I-frame's thresholds.

        Args:
            current_TMCHW: Input current of the neurons.
            iframe_MDHW: Features of the I-frame in force of each segment, at the same resolution.
            mask_TM: bool, true where the P-frame exists.
            state: Where the last P-frame ended; at rest where None.
        """
        offset_MCHW = None if self.iframe_term is None else self.iframe_term(iframe_MDHW)
        start = None if state is None else state.neurons
        spikes_TMCHW, end = self.neurons(
            current_TMCHW, mask_TM, offset_MCHW, start, torch.sigmoid(self.readout_decay.float())
        )
        assert end.readout is not None  # a decay was given
        readout = end.readout.to(current_TMCHW.dtype)
        return Modulation(spikes_TMCHW, readout, ModulatorState(end, end.readout))


class ReLUModulator(nn.Module):
    """What a modulator is without spikes: a ReLU of the current, with the same leaky read-out over time.

    Args:
        channels: Channels C of the P-path.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.readout_decay = nn.Parameter(torch.zeros(channels, 1, 1))

    def forward(
        self,
        current_TMCHW: Tensor,
        iframe_MDHW: Tensor,
        mask_TM: Tensor,
        state: ModulatorState | None = None,
    ) -> Modulation:
        """Rectify T steps; the arguments are those of :class:`SpikingTemporalModulator`."""
        exists = mask_TM[:, :, None, None, None]
        rectified_TMCHW = F.relu(current_TMCHW) * exists
        decay = torch.sigmoid(self.readout_decay.float())
        readout = torch.zeros_like(current_TMCHW[0], dtype=torch.float32) if state is None else state.readout
        for values_MCHW, alive in zip(rectified_TMCHW, exists, strict=True):
            readout = leaky_mean(values_MCHW, alive, decay, readout)
        return Modulation(rectified_TMCHW, readout.to(current_TMCHW.dtype), ModulatorState(None, readout))


def build_modulator(
    channels: int, iframe_channels: int, options: ModulatorOptions
) -> SpikingTemporalModulator | ReLUModulator:
    """The modulator of a stage with C channels, beside D of the I-frame."""
    if not options.spiking:
        return ReLUModulator(channels)
    return SpikingTemporalModulator(channels, iframe_channels, options)
