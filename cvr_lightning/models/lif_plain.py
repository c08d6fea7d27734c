"""The equations of neurons.py in plain torch: for any device, for compilers, export and comparison.

Shape suffixes: T time steps, M sequences, C channels, H, W positions; a 5C tensor holds the leak a,
adaptation strength b, trace decay r, read-out decay k and threshold before its softplus o of each channel.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from cvr_lightning.models.surrogates import Surrogate, SurrogateSpike


class Start(NamedTuple):
    """The state to start from (M, C, H, W) each; zero where None."""

    membrane: Tensor | None = None
    trace: Tensor | None = None
    readout: Tensor | None = None


class Outcome(NamedTuple):
    """Spikes (T, M, C, H, W) and the final state (M, C, H, W), membrane and trace None where not kept."""

    spikes: Tensor
    membrane: Tensor | None
    trace: Tensor | None
    readout: Tensor


def integrate(
    current_TMCHW: Tensor,
    mask_TM: Tensor,
    offset_MCHW: Tensor | None,
    constants_5C: Tensor,
    start: Start,
    surrogate: Surrogate,
    keep_state: bool = True,
    recompute: bool = False,
) -> Outcome:
    """Run the neurons over T steps.

    Args:
        current_TMCHW: Input current, float32 or float64, as is all that is given and returned.
        mask_TM: bool; where false there is no spike and the state is held.
        offset_MCHW: What is added to the threshold of the channel before its softplus.
        constants_5C: The constants of each channel.
        start: The state to start from.
        surrogate: What stands in for the derivative of a spike.
        keep_state: Membrane and trace are wanted, to carry on from.
        recompute: Keep the inputs alone for the backward pass, which runs the steps once more, rather than
            six numbers for each neuron and step.
    """
    inputs = (current_TMCHW, mask_TM, offset_MCHW, constants_5C, surrogate, *start)
    if recompute and torch.is_grad_enabled():
        outcome: Outcome = checkpoint(_steps, *inputs, use_reentrant=False, preserve_rng_state=False)
    else:
        outcome = _steps(*inputs)
    return outcome if keep_state else outcome._replace(membrane=None, trace=None)


def _steps(
    current_TMCHW: Tensor,
    mask_TM: Tensor,
    offset_MCHW: Tensor | None,
    constants_5C: Tensor,
    surrogate: Surrogate,
    *start: Tensor | None,
) -> Outcome:
    leak, strength, decay, readout_decay, raw = constants_5C[:, :, None, None].unbind()
    baseline = F.softplus(raw if offset_MCHW is None else raw + offset_MCHW)
    membrane, trace, readout = (
        torch.zeros_like(current_TMCHW[0]) if state is None else state for state in start
    )
    spikes = []
    for current_MCHW, alive in zip(current_TMCHW, mask_TM[:, :, None, None, None], strict=True):
        integrated = leak * membrane + current_MCHW
        threshold = baseline + strength * trace
        spike: Tensor = SurrogateSpike.apply(integrated - threshold, surrogate) * alive  # type: ignore[no-untyped-call]
        membrane = torch.where(alive, integrated - spike * threshold, membrane)
        trace = torch.where(alive, decay * trace + (1 - decay) * spike, trace)
        readout = leaky_mean(spike, alive, readout_decay, readout)
        spikes.append(spike)
    return Outcome(torch.stack(spikes), membrane, trace, readout)


def at_least_float32(tensor: Tensor) -> Tensor:
    """Half precision would round membranes so that spikes flip; double stays double."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def leaky_mean(values: Tensor, alive: Tensor, decay: Tensor, mean: Tensor) -> Tensor:
    """The mean carried on by a step, held where ``alive`` is false."""
    return torch.where(alive, decay * mean + (1 - decay) * values, mean)
