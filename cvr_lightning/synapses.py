"""Synaptic operations of one layer, as NeuroBench (2.3) defines them.

A synaptic operation is one weight meeting one input. *Dense* counts all of them, *effective* those of a
non-zero weight and a non-zero input. The zeros that pad a convolution are no input: neither count has them.
Biases are no synapses.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SynapticLayer = nn.Conv1d | nn.Conv2d | nn.Linear


def is_spikes(values: Tensor) -> bool:
    """Whether all values are -1, 0 or 1: the input of a layer that accumulates without multiplying."""
    return bool(((values == 0) | (values.abs() == 1)).all())


def synaptic_operations(layer: SynapticLayer, inputs: Tensor) -> tuple[int, int]:
    """Dense and effective operations of one forward pass.

    The ones and zeros of the inputs meet, for each input channel and tap, the number of its weights that are
    not zero: one output channel a group says as much as all of them would.

    Args:
        layer: The layer; a subclass may compute its kernel from its weights, so all of those count.
        inputs: What it is given.
    """
    weight = layer.weight.detach()
    plain = type(layer) in (nn.Conv1d, nn.Conv2d, nn.Linear)
    taps = (weight != 0).float() if plain else torch.ones_like(weight, dtype=torch.float32)
    present = (inputs.detach() != 0).float()
    # Half precision would not hold the counts.
    with torch.autocast(inputs.device.type, enabled=False):
        dense = _met(layer, torch.ones_like(present), torch.ones_like(taps))
        return dense, _met(layer, present, taps)


def _met(layer: SynapticLayer, present: Tensor, taps: Tensor) -> int:
    """Pairs of a present input and a tap, both 0 or 1."""
    if isinstance(layer, nn.Linear):
        return int((present.double() @ taps.sum(0).double()).sum())
    kernel = taps.view(layer.groups, -1, *taps.shape[1:]).sum(1)
    convolve = F.conv2d if isinstance(layer, nn.Conv2d) else F.conv1d
    met: Tensor = convolve(
        present,
        kernel,
        stride=layer.stride,
        padding=layer.padding,
        dilation=layer.dilation,
        groups=layer.groups,
    )
    return int(met.sum(dtype=torch.float64))
