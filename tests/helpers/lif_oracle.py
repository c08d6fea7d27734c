"""The equations of the neurons once more, step by step and in float64, with torch's autograd.

Shares no code with the package: a spike is the step it is plus a smooth step that cancels in value, so that
autograd finds the derivative of the smooth one.
"""

import torch
from torch import Tensor


def reference(
    current: Tensor, mask: Tensor, threshold: Tensor, constants: Tensor, start: Tensor, levels: int = 1
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
        s = torch.zeros_like(u)
        for level in range(1, levels + 1):
            distance = u - level * theta
            x = (distance / theta.detach().clamp(min=0.1)).clamp(-1, 1)
            smooth = x - x * x.abs() / 2  # the integral of a triangle of unit area
            s = s + exists * ((distance.detach() >= 0).double() + smooth - smooth.detach())
        v = exists * (u - s * theta) + (1 - exists) * v
        z = exists * (r * z + (1 - r) * s / levels) + (1 - exists) * z
        q = exists * (k * q + (1 - k) * s / levels) + (1 - exists) * q
        spikes.append(s)
    return torch.stack(spikes), q, torch.stack([v, z])


def distances(
    current: Tensor, mask: Tensor, threshold: Tensor, constants: Tensor, start: Tensor, levels: int = 1
) -> Tensor:
    """Membrane minus each threshold, before each step."""
    a, b, r, _ = constants[..., None, None]
    baseline = torch.log(1 + torch.exp(threshold))
    v, z, _ = start
    found = []
    for x, alive in zip(current, mask[..., None, None, None], strict=True):
        u, theta = a * v + x, baseline + b * z
        of_levels = torch.stack([u - level * theta for level in range(1, levels + 1)])
        found.append(of_levels)
        s = (of_levels >= 0).sum(dim=0).to(u.dtype)
        v = torch.where(alive, u - s * theta, v)
        z = torch.where(alive, r * z + (1 - r) * s / levels, z)
    return torch.stack(found)
