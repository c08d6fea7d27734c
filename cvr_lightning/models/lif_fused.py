"""What the fused passes of the neurons share: their place in autograd.

For the backward pass the inputs alone are kept: 4 bytes for each neuron and step (the current), 4 for each
neuron (the offset of its threshold, where there is one) and 12 more where a state was passed in.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from cvr_lightning.models.lif_plain import Outcome, Start
from cvr_lightning.models.surrogates import Surrogate


class Inputs(NamedTuple):
    """The arguments of the passes, contiguous; see :func:`cvr_lightning.models.lif_plain.integrate`."""

    current: Tensor
    mask: Tensor
    offset: Tensor | None
    constants: Tensor
    membrane: Tensor | None
    trace: Tensor | None
    readout: Tensor | None


class Gradients(NamedTuple):
    """Where the backward pass writes; ``start`` (3, M, C, H, W) is None where no state was passed in."""

    current: Tensor
    offset: Tensor | None
    start: Tensor | None


class Passes(NamedTuple):
    """The two passes of a device.

    Attributes:
        forward: Fills the spikes, the final read-out (M, C, H, W) and, where wanted, the final membrane and
            trace (2, M, C, H, W).
        backward: From the gradients of spikes, membrane, trace and read-out, None where there are none, fills
            those of the inputs and returns that of the constants (5, C).
    """

    forward: Callable[[Inputs, Tensor, Tensor, Tensor | None], None]
    backward: Callable[[Surrogate, Inputs, list[Tensor | None], Gradients], Tensor]


def integrate(
    passes: Passes,
    current_TMCHW: Tensor,
    mask_TM: Tensor,
    offset_MCHW: Tensor | None,
    constants_5C: Tensor,
    start: Start,
    surrogate: Surrogate,
    keep_state: bool = True,
) -> Outcome:
    """Run the neurons over T steps; see :func:`cvr_lightning.models.lif_plain.integrate`."""
    given = (current_TMCHW, mask_TM, offset_MCHW, constants_5C, *start)
    inputs = Inputs(*(None if tensor is None else tensor.contiguous() for tensor in given))  # type: ignore[arg-type]
    if not torch.is_grad_enabled():
        return _forward(passes, keep_state, inputs)
    return Outcome(*_FusedLIF.apply(passes, surrogate, keep_state, *inputs))  # type: ignore[no-untyped-call]


def _forward(passes: Passes, keep_state: bool, inputs: Inputs) -> Outcome:
    spikes = torch.empty_like(inputs.current)
    readout = spikes.new_empty(spikes.shape[1:])
    states = spikes.new_empty((2, *readout.shape)) if keep_state else None
    passes.forward(inputs, spikes, readout, states)
    membrane, trace = (None, None) if states is None else states
    return Outcome(spikes, membrane, trace, readout)


class _FusedLIF(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, passes: Passes, surrogate: Surrogate, keep_state: bool, *tensors: Any
    ) -> tuple[Tensor | None, ...]:
        ctx.save_for_backward(*tensors)
        ctx.set_materialize_grads(False)
        ctx.passes, ctx.surrogate = passes, surrogate
        return tuple(_forward(passes, keep_state, Inputs(*tensors)))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *given: Tensor | None) -> tuple[Tensor | None, ...]:
        inputs = Inputs(*ctx.saved_tensors)
        start = inputs[4:]
        carried = any(state is not None for state in start)
        gradients = Gradients(
            torch.empty_like(inputs.current),
            None if inputs.offset is None else torch.empty_like(inputs.offset),
            inputs.current.new_empty((3, *inputs.current.shape[1:])) if carried else None,
        )
        contiguous = [None if gradient is None else gradient.contiguous() for gradient in given]
        d_constants = ctx.passes.backward(ctx.surrogate, inputs, contiguous, gradients)
        d_start = [None] * 3 if gradients.start is None else [*gradients.start]
        d_states = [d if state is not None else None for d, state in zip(d_start, start, strict=True)]
        return None, None, None, gradients.current, None, gradients.offset, d_constants, *d_states
