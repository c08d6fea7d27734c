"""The neurons on the CPU as one compiled pass forward and one backward, with the results of lif_plain.py.

Forward all results are the same to the last bit. They and the gradients are, whatever the number of threads.
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

from cvr_lightning.models import lif_fused, lif_kernels
from cvr_lightning.models.lif_fused import Gradients, Inputs, Passes
from cvr_lightning.models.surrogates import Surrogate

GRAIN = 32768
"""Neurons times steps below which another thread does not pay; torch's own figure."""


def _forward(inputs: Inputs, spikes: Tensor, end: Tensor) -> None:
    _in_threads(lif_kernels.forward, inputs, _array(spikes, 3), _array(end, 3))


def _backward(
    surrogate: Surrogate, inputs: Inputs, given: list[Tensor | None], gradients: Gradients
) -> Tensor:
    d_constants = torch.empty((4, *inputs.current.shape[2:]))
    _in_threads(
        functools.partial(_backward_share, get_args(Surrogate).index(surrogate)),
        inputs,
        *(_array(gradient, axes) for gradient, axes in zip(given, (3, 2, 2, 2), strict=True)),
        _array(gradients.current, 3),
        _array(gradients.baseline, 2),
        _array(d_constants, 2),
        _array(gradients.start, 3),
    )
    return d_constants.flatten(2).sum(dim=2)


integrate = functools.partial(lif_fused.integrate, Passes(_forward, _backward))
"""Run the neurons over T steps; see :func:`cvr_lightning.models.lif_plain.integrate`."""


def _backward_share(surrogate: int, first: int, last: int, *arrays: Any) -> None:
    lif_kernels.backward(first, last, surrogate, *arrays)


def _array(tensor: Tensor | None, axes: int) -> Any:
    """A tensor's numbers with its last axes (C, H, W) as one; empty where there is none."""
    if tensor is None:
        return np.empty((0,) * axes, np.float32)
    return tensor.detach().flatten(axes - 1).numpy()


def _in_threads(kernel: Callable[..., None], inputs: Inputs, *outputs: Any) -> None:
    """Run a kernel, its elements shared among as many threads as torch may use and as pay."""
    current, mask, baseline, constants, *start = inputs
    states = (_array(state, 2) for state in start)
    arrays = [_array(current, 3), mask.numpy(), _array(baseline, 2), _array(constants, 2), *states, *outputs]
    elements = current[0, 0].numel()
    threads = max(1, min(torch.get_num_threads(), current.numel() // GRAIN))
    bounds = [elements * i // threads for i in range(threads + 1)]
    shares = itertools.pairwise(bounds[1:])
    others = [_pool(os.getpid()).submit(kernel, first, last, *arrays) for first, last in shares]
    kernel(0, bounds[1], *arrays)
    for other in others:
        other.result()


@functools.cache
def _pool(process: int) -> ThreadPoolExecutor:
    """Threads of this process: a forked one has none of its parent's."""
    return ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="neurons")
