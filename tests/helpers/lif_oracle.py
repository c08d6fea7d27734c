"""The equations of the neurons once more, step by step and in float64, with torch's autograd.

Shares no code with the package: a spike is the step it is plus a smooth step that cancels in value, so that
autograd finds the derivative of the smooth one.
"""

import math

import torch
from torch import Tensor

SMOOTH = {
    "arctangent": lambda x: torch.atan(math.pi * x) / math.pi,
    "sigmoid": lambda x: torch.sigmoid(4 * x),
    "triangle": lambda x: torch.where(
        x.abs() < 1, x - x.abs() * x / 2, torch.where(x < 0, x.new_tensor(-0.5), x.new_tensor(0.5))
    ),
    "fast_sigmoid": lambda x: x / (1 + 2 * x.abs()),
}
"""Smooth steps from 0 to 1 (up to a constant), one for each surrogate."""


def reference(
    current: Tensor,
    mask: Tensor,
    offset: Tensor | None,
    constants: Tensor,
    start: tuple[Tensor, Tensor, Tensor],
    surrogate: str,
) -> tuple[Tensor, ...]:
    """Spikes, final membrane, trace and read-out."""
    a, b, r, k, _ = constants[..., None, None]
    baseline = _baseline(offset, constants)
    v, z, q = start
    spikes = []
    for t in range(len(current)):
        exists = mask[t].double()[:, None, None, None]
        u = a * v + current[t]
        theta = baseline + b * z
        smooth = SMOOTH[surrogate](u - theta)
        s = exists * ((u.detach() >= theta.detach()).double() + smooth - smooth.detach())
        v = exists * (u - s * theta) + (1 - exists) * v
        z = exists * (r * z + (1 - r) * s) + (1 - exists) * z
        q = exists * (k * q + (1 - k) * s) + (1 - exists) * q
        spikes.append(s)
    return torch.stack(spikes), v, z, q


def distances(
    current: Tensor, mask: Tensor, offset: Tensor | None, constants: Tensor, start: tuple[Tensor, ...]
) -> Tensor:
    """Membrane minus threshold before each spike."""
    a, b, r, _, _ = constants[..., None, None]
    baseline = _baseline(offset, constants)
    v, z, _ = start
    found = []
    for x, alive in zip(current, mask[..., None, None, None], strict=True):
        u, theta = a * v + x, baseline + b * z
        found.append(u - theta)
        s = (u >= theta).to(u.dtype)
        v = torch.where(alive, u - s * theta, v)
        z = torch.where(alive, r * z + (1 - r) * s, z)
    return torch.stack(found)


def _baseline(offset: Tensor | None, constants: Tensor) -> Tensor:
    raw = constants[4, :, None, None] if offset is None else constants[4, :, None, None] + offset
    return torch.log(1 + torch.exp(raw))
