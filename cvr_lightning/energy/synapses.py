"""Synaptic operations of one layer, as NeuroBench (2.3) defines them.

A synaptic operation is one weight applied to one input. *Dense* operations count all pairs, *effective* ones
those with non-zero weight and input. Padding zeros and biases count in neither. A neuron with n spikes in a
step (n sub-steps) adds each weight n times: n effective operations.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SynapticLayer = nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.Linear


def is_spikes(values: Tensor, levels: int = 1) -> bool:
    """Whether all values are spike counts, so that the layer accumulates without multiplying.

    Args:
        values: Any shape.
        levels: Most spikes per step; 1 gives NeuroBench's definition: -1, 0 or 1.
    """
    # The first sample is enough to reject real values.
    return all(bool(((part == part.round()) & (part.abs() <= levels)).all()) for part in (values[:1], values))


def synaptic_operations(layer: SynapticLayer, inputs: Tensor, levels: int = 1) -> tuple[int, int]:
    """Dense and effective operations of one forward pass.

    Args:
        layer: The layer. A subclass may derive its kernel from its weights, so all weights count.
        inputs: Its input.
        levels: See :func:`is_spikes`.
    """
    inputs, weight = _batched(layer, inputs.detach()), layer.weight.detach()
    is_plain = type(layer) in (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)
    taps = (weight != 0) if is_plain else torch.ones_like(weight, dtype=torch.bool)
    # Half precision cannot represent the counts.
    with torch.autocast(inputs.device.type, enabled=False):
        everywhere = torch.ones_like(inputs[:1], dtype=torch.bool)
        dense = len(inputs) * _met(layer, everywhere, torch.ones_like(taps))
        present = inputs.abs() if is_spikes(inputs, levels) else inputs != 0
        if taps.all() and bool((present == 1).all()):
            return dense, dense
        return dense, _met(layer, present, taps)


def _batched(layer: SynapticLayer, inputs: Tensor) -> Tensor:
    """Flatten leading dimensions of the inputs into one batch dimension."""
    own = {nn.Linear: 1, nn.Conv1d: 2, nn.Conv2d: 3, nn.Conv3d: 4}
    dims = next(dims for kind, dims in own.items() if isinstance(layer, kind))
    return inputs.reshape(-1, *inputs.shape[-dims:])


def _met(layer: SynapticLayer, present: Tensor, taps: Tensor) -> int:
    """Count pairs of a non-zero input (or each of its spikes) and a non-zero tap.

    An input meets as many weights per tap as there are output channels; one tap stands for all channels of a
    group.
    """
    if isinstance(layer, nn.Linear):
        return int((present.sum(0) * taps.sum(0)).sum())
    kernel = taps.view(layer.groups, -1, *taps.shape[1:]).sum(1, dtype=torch.float32)
    convolve = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}[len(layer.kernel_size)]
    met: Tensor = convolve(
        present.float(),
        kernel,
        stride=layer.stride,
        padding=layer.padding,
        dilation=layer.dilation,
        groups=layer.groups,
    )
    return int(met.round().long().sum())  # integers: some devices lack float64
