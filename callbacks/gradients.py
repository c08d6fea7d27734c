"""Gradients and the graph that they come from."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


def gradients(module: nn.Module) -> list[Tensor]:
    """The gradients that there are."""
    return [parameter.grad for parameter in module.parameters() if parameter.grad is not None]


def unused_parameters(module: nn.Module, loss: Tensor) -> list[str]:
    """Names of the trained parameters that a loss does not depend on, by a walk over its graph.

    Nothing is computed, so no hook of a gradient runs.
    """
    reached: set[int] = set()
    seen: set[Any] = set()
    nodes: list[Any] = [loss.grad_fn]
    while nodes:
        node = nodes.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        variable = getattr(node, "variable", None)  # of the nodes that a gradient ends in
        if variable is not None:
            reached.add(id(variable))
        nodes += [following for following, _ in node.next_functions]
    return [
        name
        for name, parameter in module.named_parameters()
        if parameter.requires_grad and id(parameter) not in reached
    ]


def shares_out_of_range(gradients: list[Tensor], dtype: torch.dtype, scale: float) -> dict[str, Tensor]:
    """Shares of a gradient's elements that a number format does not hold well.

    Args:
        gradients: The gradient, not scaled.
        dtype: The format that it was computed in.
        scale: What the loss was multiplied with there.

    Returns:
        ``zero``; ``underflow``, which is not zero but below the smallest normal number once scaled;
        ``overflow``, which is not finite.
    """
    magnitude = torch.cat([gradient.flatten() for gradient in gradients]).abs()
    zero = magnitude == 0
    small = magnitude < torch.finfo(dtype).tiny / scale
    parts = {"zero": zero, "underflow": small & ~zero, "overflow": ~torch.isfinite(magnitude)}
    return {name: part.float().mean() for name, part in parts.items()}
