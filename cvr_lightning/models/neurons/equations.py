"""Adaptive-threshold leaky integrate-and-fire neurons over time.

The equations are our reconstruction; arXiv 2503.13724 publishes none. For the current x_t of a channel, with
leak a, threshold offset o, adaptation strength b and adaptation decay r (all learned per channel):

    u_t = a * v_(t-1) + x_t                          membrane
    theta_t = softplus(o + i) + b * z_(t-1)          dynamic threshold, i: the I-frame's term
    s_t = number of d in 1..D with u_t >= d theta_t  spikes
    v_t = u_t - s_t * theta_t                        soft reset
    z_t = r * z_(t-1) + (1 - r) * s_t / D            trace of recent spikes
    q_t = k * q_(t-1) + (1 - k) * s_t / D            readout with decay k, if given

With D = 1, a spike is 0 or 1. With more, s_t equals the spikes of a binary neuron over D sub-steps of a frame
without leak or input between them: the following layer adds weights and never multiplies. Training with
counts follows Luo et al., "Integer-valued training and spike-driven inference spiking neural network" (ECCV
2024).

:func:`integrate` implements them in plain torch, for GPUs, compilation, export and float64; ``cpu.py`` in one
compiled pass.

Shape suffixes: T time steps, M sequences (segments of all clips), C channels, H, W positions; a 4C tensor
holds leak a, adaptation strength b, trace decay r and readout decay k of each channel, a 3MCHW tensor
membrane, trace and readout.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from cvr_lightning.models.neurons import cpu
from cvr_lightning.models.neurons.kernels import LEAST_WIDTH, MAX_LEVELS


class LIFState(NamedTuple):
    """State of the neurons between P-frames, (M, C, H, W) each, float32 or float64.

    Attributes:
        membrane: Membrane.
        trace: Trace of recent spikes; zero without adaptation.
        readout: Leaky mean of the spikes; zero if not requested.
    """

    membrane: Tensor
    trace: Tensor
    readout: Tensor


class Firing(NamedTuple):
    """The output of a layer of neurons.

    Attributes:
        spikes: (T, M, C, H, W), 0 to D, in the current's dtype.
        readout: (M, C, H, W), leaky mean of the spikes; None if not requested.
        state: The final state; None if not requested.
    """

    spikes: Tensor
    readout: Tensor | None
    state: LIFState | None


class SurrogateSpike(torch.autograd.Function):
    """Heaviside step with a triangle of unit area as its gradient (Bellec et al., NeurIPS 2018).

    The triangle is as wide as the threshold on each side. The triangles of all levels add up to the slope of
    a straight line from 0 to the highest level, so counts have the gradient of a clipped linear function.
    """

    @staticmethod
    def forward(ctx: Any, distance: Tensor, threshold: Tensor) -> Tensor:
        """Return 1.0 where ``distance``, membrane minus threshold, is at least 0, else 0.0."""
        ctx.save_for_backward(distance, threshold)
        return (distance >= 0).to(distance.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        """Gradient with respect to ``distance``."""
        distance, threshold = ctx.saved_tensors
        width = threshold.clamp(min=LEAST_WIDTH)
        slope: Tensor = (1 - (distance / width).abs()).clamp(min=0) / width
        return gradients[0] * slope, None


class AdaptiveLIF(nn.Module):
    """A layer of leaky integrate-and-fire neurons with a dynamic threshold.

    Membranes, traces and thresholds are at least float32 under any precision. The state is explicit: the
    module stores none, so nothing needs resetting between videos and streams can continue.

    Args:
        channels: Number of channels C; constants are per channel.
        leak: Initial leak a, the fraction of the membrane kept per step.
        threshold: Initial threshold per spike, for currents of unit variance.
        adaptation: Initial strength b by which recent spikes raise the threshold; None removes adaptation and
            its parameters.
        levels: Most spikes D per step, 1 to 4.
        checkpoint_activations: In plain torch, save only the inputs for the backward pass and recompute the
            steps. The CPU kernel always does.
    """

    def __init__(
        self,
        channels: int,
        leak: float = 0.9,
        threshold: float = 1.0,
        adaptation: float | None = 0.2,
        levels: int = 1,
        checkpoint_activations: bool = False,
    ) -> None:
        super().__init__()
        if not 1 <= levels <= MAX_LEVELS:
            raise ValueError(f"levels={levels} must be between 1 and {MAX_LEVELS}")
        shape = (channels, 1, 1)
        self.levels = levels
        self.checkpoint_activations = checkpoint_activations
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
            mask_TM: bool, true where the P-frame exists; elsewhere neurons do not spike and keep their state.
            offset_MCHW: I-frame term, added to the threshold before its softplus.
            state: State to continue from; zeros if None.
            readout_decay: (C, 1, 1) decay k of a leaky mean of the spikes, which becomes part of the state.
            keep_state: Return the final state.
        """
        current = at_least_float32(current_TMCHW)
        start = None if state is None else torch.stack(state)
        inputs = (
            current,
            mask_TM,
            self._threshold(current, offset_MCHW),
            self._constants(readout_decay),
            start,
        )
        if _runs_compiled(current):
            spikes, readout_MCHW, end = cpu.integrate(*inputs, self.levels, keep_state)
        else:
            spikes, readout_MCHW, end = integrate(
                *inputs, self.levels, keep_state, self.checkpoint_activations
            )
        return Firing(
            spikes.to(current_TMCHW.dtype),
            None if readout_decay is None else readout_MCHW,
            None if end is None else LIFState(end[0], end[1], readout_MCHW),
        )

    def _threshold(self, current_TMCHW: Tensor, offset_MCHW: Tensor | None) -> Tensor:
        threshold = at_least_float32(self.threshold)
        if offset_MCHW is not None:
            return threshold + at_least_float32(offset_MCHW)
        return threshold.expand(current_TMCHW.shape[1:])

    def _constants(self, readout_decay: Tensor | None) -> Tensor:
        leak = torch.sigmoid(at_least_float32(self.leak))
        strength, decay = torch.zeros_like(leak), torch.ones_like(leak)  # keeps the trace constant
        if self.adaptation is not None and self.trace_decay is not None:
            strength = F.softplus(at_least_float32(self.adaptation))
            decay = torch.sigmoid(at_least_float32(self.trace_decay))
        readout_decay = torch.ones_like(leak) if readout_decay is None else at_least_float32(readout_decay)
        return torch.stack([leak, strength, decay, readout_decay]).flatten(1)


def integrate(
    current_TMCHW: Tensor,
    mask_TM: Tensor,
    threshold_MCHW: Tensor,
    constants_4C: Tensor,
    start_3MCHW: Tensor | None,
    levels: int = 1,
    keep_state: bool = True,
    checkpoint_activations: bool = False,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Run the equations over T steps in plain torch.

    Args:
        current_TMCHW: Input current; all tensors are float32 or all float64.
        mask_TM: bool; where false, neurons do not spike and keep their state.
        threshold_MCHW: Threshold at rest, before its softplus.
        constants_4C: Constants of each channel.
        start_3MCHW: State to start from; zeros if None.
        levels: Most spikes D per step.
        keep_state: Return membrane and trace.
        checkpoint_activations: Save only the inputs for the backward pass and recompute the steps, instead of
            saving several values per neuron and step.

    Returns:
        Spikes (T, M, C, H, W), readout (M, C, H, W), and membrane and trace (2, M, C, H, W), None if not
        requested.
    """
    inputs = (current_TMCHW, mask_TM, threshold_MCHW, constants_4C, start_3MCHW, levels)
    if checkpoint_activations and torch.is_grad_enabled():
        spikes, readout, membrane, trace = checkpoint(
            _steps, *inputs, use_reentrant=False, preserve_rng_state=False
        )
    else:
        spikes, readout, membrane, trace = _steps(*inputs)
    return spikes, readout, torch.stack([membrane, trace]) if keep_state else None


def _steps(
    current_TMCHW: Tensor,
    mask_TM: Tensor,
    threshold_MCHW: Tensor,
    constants_4C: Tensor,
    start_3MCHW: Tensor | None,
    levels: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    leak, strength, decay, readout_decay = constants_4C[:, :, None, None].unbind()
    baseline = F.softplus(threshold_MCHW)
    rest = torch.zeros_like(baseline)
    membrane, trace, readout = (rest, rest, rest) if start_3MCHW is None else start_3MCHW.unbind()
    spikes = []
    for current_MCHW, alive in zip(current_TMCHW, mask_TM[:, :, None, None, None], strict=True):
        integrated = leak * membrane + current_MCHW
        threshold = baseline + strength * trace
        count = alive * _spikes(integrated, threshold, levels)
        rate = count / levels
        membrane = torch.where(alive, integrated - count * threshold, membrane)
        trace = torch.where(alive, decay * trace + (1 - decay) * rate, trace)
        readout = torch.where(alive, readout_decay * readout + (1 - readout_decay) * rate, readout)
        spikes.append(count)
    return torch.stack(spikes), readout, membrane, trace


def _spikes(membrane: Tensor, threshold: Tensor, levels: int) -> Tensor:
    """Number of multiples of the threshold that the membrane reaches, at most ``levels``."""
    fired: list[Tensor] = [
        SurrogateSpike.apply(membrane - level * threshold, threshold)  # type: ignore[no-untyped-call]
        for level in range(1, levels + 1)
    ]
    return torch.stack(fired).sum(dim=0) if levels > 1 else fired[0]


def at_least_float32(tensor: Tensor) -> Tensor:
    """Promote half precision, whose rounding of membranes would change spikes; keep float64."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def _runs_compiled(current_TMCHW: Tensor) -> bool:
    """Whether to use the CPU kernel; compilers need the equations to generate their own."""
    is_plain_call = not torch.compiler.is_compiling()
    return is_plain_call and current_TMCHW.device.type == "cpu" and current_TMCHW.dtype == torch.float32


def _logit(probability: float) -> float:
    return math.log(probability / (1 - probability))


def _inverse_softplus(value: float) -> float:
    return math.log(math.expm1(value))
