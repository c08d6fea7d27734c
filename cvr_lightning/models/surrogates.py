"""What stands in for the derivative of a spike, which is zero wherever it exists.

All are functions of the distance x from membrane to threshold, scaled here to a peak of 1 and an area of 1,
so that each is the derivative of a step smoothed from 0 to 1 and they differ by their tails alone:

    arctangent      1 / (1 + (pi x)^2)              Fang et al., ICCV 2021 (parametric LIF), alpha = 2
    sigmoid         4 s (1 - s), s = sigmoid(4 x)   Wu et al., Frontiers in Neuroscience 2018
    triangle        max(0, 1 - |x|)                 Esser et al., PNAS 2016
    fast_sigmoid    1 / (1 + 2 |x|)^2               Zenke and Ganguli, SuperSpike, Neural Computation 2018
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor

Surrogate = Literal["arctangent", "sigmoid", "triangle", "fast_sigmoid"]


def _sigmoid(distance: Tensor) -> Tensor:
    rising = torch.sigmoid(4 * distance)
    return 4 * rising * (1 - rising)


SLOPES: dict[Surrogate, Callable[[Tensor], Tensor]] = {
    "arctangent": lambda distance: 1 / (1 + (math.pi * distance) ** 2),
    "sigmoid": _sigmoid,
    "triangle": lambda distance: (1 - distance.abs()).clamp(min=0),
    "fast_sigmoid": lambda distance: 1 / (1 + 2 * distance.abs()) ** 2,
}


class SurrogateSpike(torch.autograd.Function):
    """Heaviside step whose derivative is that of a smoothed one."""

    @staticmethod
    def forward(ctx: Any, distance: Tensor, surrogate: Surrogate = "arctangent") -> Tensor:
        """Return 1.0 where ``distance`` (membrane minus threshold) is not negative, else 0.0."""
        ctx.save_for_backward(distance)
        ctx.surrogate = surrogate
        return (distance >= 0).to(distance.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        """Gradient with respect to ``distance``."""
        (distance,) = ctx.saved_tensors
        return gradients[0] * SLOPES[ctx.surrogate](distance), None
