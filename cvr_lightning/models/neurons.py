"""Adaptive-threshold leaky integrate-and-fire neurons over time.

The equations are this project's own reconstruction; arXiv 2503.13724 publishes none. For the current x_t of a
channel, with leak a, threshold offset o, adaptation strength b and adaptation decay r (all learnt, one per
channel):

    u_t = a * v_(t-1) + x_t                          membrane
    theta_t = softplus(o + i) + b * z_(t-1)          dynamic threshold, i: the I-frame's term
    s_t = 1 if u_t >= theta_t else 0                 spike
    v_t = u_t - s_t * theta_t                        soft reset
    z_t = r * z_(t-1) + (1 - r) * s_t                trace of recent spikes

Shape suffixes: T time steps, M sequences (segments of all clips), C channels, H, W positions.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class SurrogateSpike(torch.autograd.Function):
    """Heaviside step whose derivative is taken from the arctangent, 1 / (1 + (pi x)^2)."""

    @staticmethod
    def forward(ctx: Any, distance: Tensor) -> Tensor:
        """Return 1.0 where ``distance`` (membrane minus threshold) is not negative, else 0.0."""
        ctx.save_for_backward(distance)
        return (distance >= 0).to(distance.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        """Gradient with respect to ``distance``."""
        (distance,) = ctx.saved_tensors
        gradient: Tensor = gradients[0] / (1 + (math.pi * distance) ** 2)
        return gradient


class LIFState(NamedTuple):
    """What a neuron carries from one P-frame to the next; float32, (M, C, H, W) each."""

    membrane: Tensor
    trace: Tensor


class AdaptiveLIF(nn.Module):
    """A layer of leaky integrate-and-fire neurons with a dynamic threshold.

    Membranes, traces and thresholds are float32 under any precision. The state is explicit: none is kept
    inside the module, so there is nothing to reset between videos and a stream can carry on.

    Args:
        channels: Number of channels C; each has its own constants.
        leak: Initial leak a of the membrane in a step.
        threshold: Initial threshold for a current of unit variance.
        adaptation: Initial strength b with which recent spikes raise the threshold.
    """

    def __init__(
        self, channels: int, leak: float = 0.5, threshold: float = 1.0, adaptation: float = 0.2
    ) -> None:
        super().__init__()
        shape = (channels, 1, 1)
        self.leak = nn.Parameter(torch.full(shape, _logit(leak)))
        self.trace_decay = nn.Parameter(torch.full(shape, _logit(0.7)))
        self.threshold = nn.Parameter(torch.full(shape, _inverse_softplus(threshold)))
        self.adaptation = nn.Parameter(torch.full(shape, _inverse_softplus(adaptation)))

    def initial_state(self, current_MCHW: Tensor) -> LIFState:
        """The state at rest for a current of this shape."""
        rest = torch.zeros_like(current_MCHW, dtype=torch.float32)
        return LIFState(rest, rest)

    def forward(
        self,
        current_TMCHW: Tensor,
        mask_TM: Tensor,
        offset_MCHW: Tensor | None = None,
        state: LIFState | None = None,
    ) -> tuple[Tensor, LIFState]:
        """Run the neurons over T steps.

        Args:
            current_TMCHW: Input current.
            mask_TM: bool; where false the P-frame does not exist: no spike, and the state is held.
            offset_MCHW: What the I-frame adds to the threshold before its softplus.
            state: The state to start from; at rest where None.

        Returns:
            Spikes (T, M, C, H, W), 0 or 1 in the dtype of the current, and the final state.
        """
        current = current_TMCHW.float()
        membrane, trace = self.initial_state(current[0]) if state is None else state
        leak, decay = torch.sigmoid(self.leak.float()), torch.sigmoid(self.trace_decay.float())
        adaptation = F.softplus(self.adaptation.float())
        raw = self.threshold.float() if offset_MCHW is None else self.threshold + offset_MCHW.float()
        baseline = F.softplus(raw)
        exists = mask_TM[:, :, None, None, None]

        spikes = []
        for current_MCHW, alive in zip(current, exists, strict=True):
            integrated = leak * membrane + current_MCHW
            threshold = baseline + adaptation * trace
            spike: Tensor = SurrogateSpike.apply(integrated - threshold) * alive  # type: ignore[no-untyped-call]
            membrane = torch.where(alive, integrated - spike * threshold, membrane)
            trace = torch.where(alive, decay * trace + (1 - decay) * spike, trace)
            spikes.append(spike)
        return torch.stack(spikes).to(current_TMCHW.dtype), LIFState(membrane, trace)


def _logit(probability: float) -> float:
    return math.log(probability / (1 - probability))


def _inverse_softplus(value: float) -> float:
    return math.log(math.expm1(value))
