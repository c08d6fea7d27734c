"""The neurons on the CPU as one compiled pass forward and one backward, with the results of lif_plain.py.

Forward all results are the same to the last bit, whatever the number of threads and however a window is cut.
For the backward pass the inputs alone are kept: 4 bytes for each neuron and step (the current), 4 for each
neuron (its baseline) and 12 more where a state was passed in.
"""

from __future__ import annotations

import functools
import itertools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, get_args

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from cvr_lightning.models import lif_kernels
from cvr_lightning.models.lif_plain import Outcome, Start
from cvr_lightning.models.surrogates import Surrogate

GRAIN = 32768
"""Neurons times steps below which another thread does not pay; torch's own figure."""


def integrate(
    current_TMCHW: Tensor,
    mask_TM: Tensor,
    baseline_MCHW: Tensor,
    constants_4C: Tensor,
    start: Start,
    surrogate: Surrogate,
) -> Outcome:
    """Run the neurons over T steps; see :func:`cvr_lightning.models.lif_plain.integrate`."""
    baseline_MCHW = baseline_MCHW.expand(-1, *current_TMCHW.shape[2:])
    inputs = [current_TMCHW, mask_TM, baseline_MCHW, constants_4C, *start]
    inputs = [None if tensor is None else tensor.contiguous() for tensor in inputs]
    return Outcome(*_FusedLIF.apply(surrogate, *inputs))  # type: ignore[no-untyped-call]


class _FusedLIF(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, surrogate: Surrogate, *inputs: Tensor | None) -> tuple[Tensor, ...]:
        ctx.save_for_backward(*inputs)
        ctx.set_materialize_grads(False)
        ctx.surrogate = get_args(Surrogate).index(surrogate)
        arrays = _inputs(inputs)
        current = inputs[0]
        assert current is not None
        spikes = torch.empty_like(current)
        end = torch.empty((3, *current.shape[1:]))
        _in_threads(lif_kernels.forward, current, *arrays, _array(spikes, 3), _array(end, 3))
        return spikes, *end.unbind()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        inputs = ctx.saved_tensors
        current, _, baseline, _, *start = inputs
        d_current, d_baseline = torch.empty_like(current), torch.empty_like(baseline)
        d_constants = torch.empty((4, *current.shape[2:]))
        carried = any(state is not None for state in start)
        d_start = torch.empty((3, *current.shape[1:])) if carried else None
        given = [None if gradient is None else gradient.contiguous() for gradient in gradients]
        outputs = [(d_current, 3), (d_baseline, 2), (d_constants.flatten(1), 2), (d_start, 3)]
        _in_threads(
            functools.partial(_backward, ctx.surrogate),
            current,
            *_inputs(inputs),
            *(_array(gradient, 3 if i == 0 else 2) for i, gradient in enumerate(given)),
            *(_array(tensor, axes) for tensor, axes in outputs),
        )
        d_states: list[Tensor | None] = [None] * 3 if d_start is None else [*d_start]
        d_states = [d if state is not None else None for d, state in zip(d_states, start, strict=True)]
        return None, d_current, None, d_baseline, d_constants.flatten(2).sum(dim=2), *d_states


def _backward(surrogate: int, first: int, last: int, *arrays: Any) -> None:
    lif_kernels.backward(first, last, surrogate, *arrays)


def _inputs(inputs: tuple[Tensor | None, ...]) -> list[Any]:
    current, mask, baseline, constants, *start = inputs
    assert mask is not None
    assert constants is not None
    states = (_array(state, 2) for state in start)
    return [_array(current, 3), mask.numpy(), _array(baseline, 2), constants.detach().numpy(), *states]


def _array(tensor: Tensor | None, axes: int) -> Any:
    """A tensor's numbers with its last axes (C, H, W) as one; empty where there is none."""
    if tensor is None:
        return np.empty((0,) * axes, np.float32)
    return tensor.detach().flatten(axes - 1).numpy()


def _in_threads(kernel: Callable[..., None], current_TMCHW: Tensor, *arrays: Any) -> None:
    """Run a kernel, its elements shared among as many threads as torch may use and as pay."""
    elements = current_TMCHW[0, 0].numel()
    threads = max(1, min(torch.get_num_threads(), current_TMCHW.numel() // GRAIN))
    bounds = [elements * i // threads for i in range(threads + 1)]
    pool = _pool(os.getpid()) if threads > 1 else None
    shares = itertools.pairwise(bounds[1:])
    others = [pool.submit(kernel, first, last, *arrays) for first, last in shares] if pool else []
    kernel(0, bounds[1], *arrays)
    for other in others:
        other.result()


@functools.cache
def _pool(process: int) -> ThreadPoolExecutor:
    """Threads of this process: a forked one has none of its parent's."""
    return ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="neurons")
