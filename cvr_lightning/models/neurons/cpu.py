"""The compiled neurons of the CPU, equivalent to ``equations.py``: autograd and threading."""

from __future__ import annotations

import functools
import itertools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from cvr_lightning.models.neurons import kernels

_INPUTS = 5  # kernel arguments before the number of levels
GRAIN = 32768
"""Fewest neuron steps per thread; equal to torch's own grain size."""


def integrate(
    current_TMCHW: Tensor,
    mask_TM: Tensor,
    threshold_MCHW: Tensor,
    constants_4C: Tensor,
    start_3MCHW: Tensor | None,
    levels: int = 1,
    keep_state: bool = True,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Run the neurons over T steps; see :func:`cvr_lightning.models.neurons.equations.integrate`.

    Only the inputs are saved for the backward pass, which recomputes the steps.
    """
    given = (current_TMCHW, mask_TM, threshold_MCHW, constants_4C, start_3MCHW)
    inputs = [None if tensor is None else tensor.contiguous() for tensor in given]
    if not torch.is_grad_enabled():
        return _run(levels, keep_state, *inputs)
    result: tuple[Tensor, Tensor, Tensor | None] = _LIF.apply(levels, keep_state, *inputs)  # type: ignore[no-untyped-call]
    return result


def _run(levels: int, keep_state: bool, *inputs: Any) -> tuple[Tensor, Tensor, Tensor | None]:
    current = inputs[0]
    spikes, readout = torch.empty_like(current), torch.empty_like(current[0])
    end = readout.new_empty((2, *readout.shape)) if keep_state else None
    _in_threads(kernels.forward, levels, *inputs, spikes, readout, end)
    return spikes, readout, end


class _LIF(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, levels: int, keep_state: bool, *inputs: Any
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        ctx.save_for_backward(*inputs)
        ctx.set_materialize_grads(False)
        ctx.levels = levels
        return _run(levels, keep_state, *inputs)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *given: Tensor | None) -> tuple[Tensor | None, ...]:
        inputs = ctx.saved_tensors
        current, _, threshold, _, start = inputs
        d_current, d_threshold = torch.empty_like(current), torch.empty_like(threshold)
        d_constants = current.new_empty((4, 1, *current.shape[2:]))
        d_start = None if start is None else torch.empty_like(start)
        given = tuple(None if gradient is None else gradient.contiguous() for gradient in given)
        _in_threads(
            kernels.backward, ctx.levels, *inputs, *given, d_current, d_threshold, d_constants, d_start
        )
        return None, None, d_current, None, d_threshold, d_constants.flatten(3).sum(dim=(1, 3)), d_start


def _in_threads(kernel: Callable[..., None], levels: int, *tensors: Tensor | None) -> None:
    """Run a kernel with its neurons divided among at most torch's number of threads."""
    arrays: list[Any] = [_array(tensor) for tensor in tensors]
    steps, sequences, neurons = arrays[0].shape
    arrays.insert(_INPUTS, levels)
    threads = max(1, min(torch.get_num_threads(), steps * sequences * neurons // GRAIN))
    bounds = [neurons * i // threads for i in range(threads + 1)]
    chunks = itertools.pairwise(bounds[1:])
    jobs = [_pool(os.getpid()).submit(kernel, first, last, *arrays) for first, last in chunks]
    kernel(0, bounds[1], *arrays)
    for job in jobs:
        job.result()


def _array(tensor: Tensor | None) -> Any:
    """View a tensor (..., C, H, W) as an array (..., P); tensors of fewer axes are not flattened."""
    if tensor is None:
        return np.empty((0, 0, 0), np.float32)
    if tensor.ndim < 4:
        return tensor.detach().numpy()
    array = tensor.detach().flatten(-3).numpy()
    return array if array.ndim == 3 else array[None]


@functools.cache
def _pool(process: int) -> ThreadPoolExecutor:
    """Thread pool of this process; a forked process does not inherit threads."""
    return ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="neurons")
