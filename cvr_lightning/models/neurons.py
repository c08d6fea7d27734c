"""Adaptive-threshold leaky integrate-and-fire neurons over time.

The equations are this project's own reconstruction; arXiv 2503.13724 publishes none. For the current x_t of a
channel, with leak a, threshold offset o, adaptation strength b and adaptation decay r (all learnt, one per
channel):

    u_t = a * v_(t-1) + x_t                          membrane
    theta_t = softplus(o + i) + b * z_(t-1)          dynamic threshold, i: the I-frame's term
    s_t = 1 if u_t >= theta_t else 0                 spike
    v_t = u_t - s_t * theta_t                        soft reset
    z_t = r * z_(t-1) + (1 - r) * s_t                trace of recent spikes
    q_t = k * q_(t-1) + (1 - k) * s_t                read-out, where a decay k is given

They stand in lif_plain.py in plain torch. Where nothing is to be compiled or exported, lif_cpu.py and
lif_cuda.py compute the same in one pass.

Shape suffixes: T time steps, M sequences (segments of all clips), C channels, H, W positions.
"""

from __future__ import annotations

import functools
import importlib.util
import math
from typing import NamedTuple, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cvr_lightning.models import lif_cpu, lif_plain
from cvr_lightning.models.lif_plain import Outcome, Start, at_least_float32
from cvr_lightning.models.surrogates import Surrogate
from cvr_lightning.models.surrogates import SurrogateSpike as SurrogateSpike


class LIFState(NamedTuple):
    """What a neuron carries from one P-frame to the next, (M, C, H, W) each, float32 or float64.

    Attributes:
        membrane: Membrane.
        trace: Trace of recent spikes; stays zero without adaptation.
        readout: Leaky mean of the spikes, where one is asked for.
    """

    membrane: Tensor
    trace: Tensor
    readout: Tensor | None = None


class Firing(NamedTuple):
    """What neurons give.

    Attributes:
        spikes: (T, M, C, H, W), 0 or 1 in the dtype of the current.
        readout: (M, C, H, W), leaky mean of the spikes; None where none is asked for.
        state: The final state; None where it is not kept.
    """

    spikes: Tensor
    readout: Tensor | None
    state: LIFState | None


class AdaptiveLIF(nn.Module):
    """A layer of leaky integrate-and-fire neurons with a dynamic threshold.

    Membranes, traces and thresholds are float32 under any precision but double. The state is explicit: none
    is kept inside the module, so there is nothing to reset between videos and a stream can carry on.

    Args:
        channels: Number of channels C; each has its own constants.
        leak: Initial leak a, the share of the membrane that a step leaves: most of it, for windows are short.
        threshold: Initial threshold for a current of unit variance.
        adaptation: Initial strength b with which recent spikes raise the threshold; without adaptation, and
            without its parameters, where None.
        surrogate: What stands in for the derivative of a spike.
        recompute: Where the equations run in plain torch, keep only the inputs for the backward pass and run
            the steps once more there. The fused passes always do.

    Raises:
        ValueError: For an unknown surrogate; the message lists those there are.
    """

    def __init__(
        self,
        channels: int,
        leak: float = 0.9,
        threshold: float = 1.0,
        adaptation: float | None = 0.2,
        surrogate: Surrogate = "arctangent",
        recompute: bool = False,
    ) -> None:
        super().__init__()
        if surrogate not in get_args(Surrogate):
            names = ", ".join(get_args(Surrogate))
            raise ValueError(f"unknown surrogate {surrogate!r}; choose one of {names}")
        shape = (channels, 1, 1)
        self.surrogate: Surrogate = surrogate
        self.recompute = recompute
        self.leak = nn.Parameter(torch.full(shape, _logit(leak)))
        self.trace_decay: nn.Parameter | None = None
        self.adaptation: nn.Parameter | None = None
        if adaptation is not None:
            self.trace_decay = nn.Parameter(torch.full(shape, _logit(0.7)))
        self.threshold = nn.Parameter(torch.full(shape, _inverse_softplus(threshold)))
        if adaptation is not None:
            self.adaptation = nn.Parameter(torch.full(shape, _inverse_softplus(adaptation)))

    def forward(
        self,
        current_TMCHW: Tensor,
        mask_TM: Tensor,
        offset_MCHW: Tensor | None = None,
        state: LIFState | None = None,
        readout_decay: Tensor | None = None,
        keep_state: bool = True,
    ) -> Firing:
        """Run the neurons over T steps.

        Args:
            current_TMCHW: Input current.
            mask_TM: bool; where false the P-frame does not exist: no spike, and the state is held.
            offset_MCHW: What the I-frame adds to the threshold before its softplus.
            state: The state to start from; at rest where None.
            readout_decay: (C, 1, 1), decay k of a leaky mean of the spikes, then part of the state.
            keep_state: The final state is wanted, to carry on from.
        """
        outcome = self._integrate(
            at_least_float32(current_TMCHW),
            mask_TM,
            None if offset_MCHW is None else at_least_float32(offset_MCHW),
            self._constants(readout_decay),
            Start() if state is None else Start(*state),
            keep_state,
        )
        readout = None if readout_decay is None else outcome.readout
        end = None
        if outcome.membrane is not None and outcome.trace is not None:
            end = LIFState(outcome.membrane, outcome.trace, readout)
        return Firing(outcome.spikes.to(current_TMCHW.dtype), readout, end)

    def _constants(self, readout_decay: Tensor | None) -> Tensor:
        """Leak, adaptation strength, decays of trace and read-out, raw threshold of each channel, (5, C)."""
        leak = torch.sigmoid(at_least_float32(self.leak))
        strength, decay = torch.zeros_like(leak), torch.ones_like(leak)  # the trace then stays as it is
        if self.adaptation is not None and self.trace_decay is not None:
            strength = F.softplus(at_least_float32(self.adaptation))
            decay = torch.sigmoid(at_least_float32(self.trace_decay))
        readout_decay = torch.zeros_like(leak) if readout_decay is None else at_least_float32(readout_decay)
        threshold = at_least_float32(self.threshold)
        return torch.stack([leak, strength, decay, readout_decay, threshold]).flatten(1)

    def _integrate(
        self,
        current: Tensor,
        mask: Tensor,
        offset: Tensor | None,
        constants: Tensor,
        start: Start,
        keep_state: bool,
    ) -> Outcome:
        """By the fastest pass for device and dtype; a compiler gets the equations to make its own.

        So does an empty batch: the compiled passes divide by its size, and a GPU refuses an empty grid.
        """
        inputs = (current, mask, offset, constants, start, self.surrogate, keep_state)
        is_plain = torch.compiler.is_compiling() or current.dtype != torch.float32 or not current.shape[1]
        device = "none" if is_plain else current.device.type
        if device == "cpu":
            return lif_cpu.integrate(*inputs)
        if device == "cuda" and _has_triton():
            from cvr_lightning.models import lif_cuda

            return lif_cuda.integrate(*inputs)
        return lif_plain.integrate(*inputs, self.recompute)


@functools.cache
def _has_triton() -> bool:
    return importlib.util.find_spec("triton") is not None


def _logit(probability: float) -> float:
    return math.log(probability / (1 - probability))


def _inverse_softplus(value: float) -> float:
    return math.log(math.expm1(value))
