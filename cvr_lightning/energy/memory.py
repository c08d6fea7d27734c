"""Memory accesses of inference, as spikingjelly (2.0, ``NeuromorphicMemoryAccessCounter``) defines them.

Each use of a weight reads it: one per spike and synapse for spikes, all of the dense product for other
inputs, zeros included. Each output reads its bias. Each neuron state is read and written once per time step.
Inputs, outputs, intermediate tensors and caches are outside this model.
"""

from __future__ import annotations

from torch import Tensor, nn

STATE_BYTES = 4
"""States are float32 under any precision."""


def parameter_bytes(layer: nn.Module, output: Tensor, uses: int) -> int:
    """Bytes of weights and biases that a convolution or linear layer reads.

    Args:
        layer: The layer.
        output: Its output.
        uses: Uses of a weight.
    """
    weight, bias = layer.weight, layer.bias
    assert isinstance(weight, Tensor)
    of_bias = output.numel() * bias.element_size() if isinstance(bias, Tensor) else 0
    return uses * weight.element_size() + of_bias


def state_bytes(values: Tensor, states: int) -> int:
    """Bytes of neuron states that are read and written.

    Args:
        values: A tensor with an element for each neuron and time step.
        states: States of a neuron.
    """
    return 2 * states * values.numel() * STATE_BYTES
