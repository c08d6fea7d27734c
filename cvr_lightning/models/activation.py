"""The activation of the multilayer perceptrons."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def gelu(hidden: Tensor) -> Tensor:
    """Gaussian error linear unit of a tensor that nobody else holds.

    It takes the tensor's own memory where nothing is kept for a backward pass: on a CPU, to fetch as much
    anew from the system costs up to as long as the numbers do.
    """
    return F.gelu(hidden) if torch.is_grad_enabled() else torch.ops.aten.gelu_(hidden)
