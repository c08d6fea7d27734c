"""The Spiking Temporal Modulator (STM): spikes over time, and what they say to the I-frame.

Named after the part of arXiv 2503.13724 whose inner working is not published; this is our reconstruction. It
carries information across the two domains both ways: the I-frame moves the thresholds of the neurons, and a
leaky read-out of their spikes gates and shifts the I-frame's features.

Shape suffixes: T time steps, M segments of all clips, C channels of the P-path, D of the I-path, H, W
positions.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from cvr_lightning.models.neurons import AdaptiveLIF, LIFState


class ModulatorState(NamedTuple):
    """State of the neurons and of the read-out (M, C, H, W), float32."""

    neurons: LIFState
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
    """

    def __init__(self, channels: int, iframe_channels: int) -> None:
        super().__init__()
        self.neurons = AdaptiveLIF(channels)
        self.iframe_term = nn.Conv2d(iframe_channels, channels, kernel_size=1)
        self.readout_decay = nn.Parameter(torch.zeros(channels, 1, 1))
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
        offset_MCHW = self.iframe_term(iframe_MDHW)
        spikes_TMCHW, neurons = self.neurons(
            current_TMCHW, mask_TM, offset_MCHW, None if state is None else state.neurons
        )
        readout = torch.zeros_like(neurons.membrane) if state is None else state.readout
        decay = torch.sigmoid(self.readout_decay.float())
        for spikes_MCHW, alive in zip(spikes_TMCHW, mask_TM[:, :, None, None, None], strict=True):
            readout = torch.where(alive, decay * readout + (1 - decay) * spikes_MCHW, readout)
        return Modulation(spikes_TMCHW, readout.to(current_TMCHW.dtype), ModulatorState(neurons, readout))
