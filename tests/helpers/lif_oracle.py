"""The equations of the neurons once more, step by step and in float64, with torch's autograd.

Shares no code with the package: a spike is the step it is plus a smooth step that cancels in value, so that
autograd finds the derivative of the smooth one.
"""

import math

import torch
from torch import Tensor


def reference(
    current: Tensor, mask: Tensor, threshold: Tensor, constants: Tensor, start: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Spikes, final readout, and final membrane and trace."""
    a, b, r, k = constants[..., None, None]
    baseline = torch.log(1 + torch.exp(threshold))
    v, z, q = start
    spikes = []
    for t in range(len(current)):
        exists = mask[t].double()[:, None, None, None]
        u = a * v + current[t]
        theta = baseline + b * z
        smooth = torch.atan(math.pi * (u - theta)) / math.pi
        s = exists * ((u.detach() >= theta.detach()).double() + smooth - smooth.detach())
        v = exists * (u - s * theta) + (1 - exists) * v
        z = exists * (r * z + (1 - r) * s) + (1 - exists) * z
        q = exists * (k * q + (1 - k) * s) + (1 - exists) * q
        spikes.append(s)
    return torch.stack(spikes), q, torch.stack([v, z])


def distances(current: Tensor, mask: Tensor, threshold: Tensor, constants: Tensor, start: Tensor) -> Tensor:
    """Membrane minus threshold before each spike."""
    a, b, r, _ = constants[..., None, None]
    baseline = torch.log(1 + torch.exp(threshold))
    v, z, _ = start
    found = []
    for x, alive in zip(current, mask[..., None, None, None], strict=True):
        u, theta = a * v + x, baseline + b * z
        found.append(u - theta)
        s = (u >= theta).to(u.dtype)
        v = torch.where(alive, u - s * theta, v)
        z = torch.where(alive, r * z + (1 - r) * s, z)
    return torch.stack(found)
