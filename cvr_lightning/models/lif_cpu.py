"""The neurons on the CPU as one compiled pass forward and one backward, with the results of lif_plain.py.

The softplus of the thresholds alone is rounded in another way. Results and gradients are the same to the last
bit whatever the number of threads.
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
from cvr_lightning.models.lanes import LANES
from cvr_lightning.models.lif_fused import Gradients, Inputs, Passes
from cvr_lightning.models.surrogates import Surrogate

GRAIN = 32768
"""Neurons times steps below which another thread does not pay; torch's own figure."""


_NONE = np.empty(0, np.float32)


def _forward(inputs: Inputs, spikes: Tensor, readout: Tensor, states: Tensor | None) -> None:
    _in_threads(lif_kernels.forward, inputs, *map(_array, (spikes, readout, states)))


def _backward(
    surrogate: Surrogate, inputs: Inputs, given: list[Tensor | None], gradients: Gradients
) -> Tensor:
    d_constants = torch.empty((5, *inputs.current.shape[2:]))
    _in_threads(
        functools.partial(_backward_share, get_args(Surrogate).index(surrogate)),
        inputs,
        *map(_array, given),
        _array(gradients.current),
        _array(gradients.offset),
        _array(d_constants),
        _array(gradients.start),
    )
    return d_constants.flatten(2).sum(dim=2)


integrate = functools.partial(lif_fused.integrate, Passes(_forward, _backward))
"""Run the neurons over T steps; see :func:`cvr_lightning.models.lif_plain.integrate`."""


def _backward_share(surrogate: int, first: int, last: int, *arrays: Any) -> None:
    lif_kernels.backward(first, last, surrogate, *arrays)


def _array(tensor: Tensor | None) -> Any:
    """A contiguous tensor's numbers, flat; empty where there is none."""
    return _NONE if tensor is None else tensor.detach().view(-1).numpy()


def _in_threads(kernel: Callable[..., None], inputs: Inputs, *outputs: Any) -> None:
    """Run a kernel, its elements shared among as many threads as torch may use and as pay."""
    current, mask, offset, constants, *start = inputs
    states = map(_array, start)
    arrays = [_array(current), mask.numpy(), _array(offset), constants.detach().numpy(), *states, *outputs]
    elements = current.shape[2:].numel()
    threads = max(1, min(torch.get_num_threads(), current.numel() // GRAIN))
    bounds = [elements * i // threads // LANES * LANES for i in range(threads)] + [elements]
    shares = itertools.pairwise(bounds[1:])
    others = [_pool(os.getpid()).submit(kernel, first, last, *arrays) for first, last in shares]
    kernel(0, bounds[1], *arrays)
    for other in others:
        other.result()


@functools.cache
def _pool(process: int) -> ThreadPoolExecutor:
    """Threads of this process: a forked one has none of its parent's."""
    return ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="neurons")
