"""Gradients and the autograd graph."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


def gradients(module: nn.Module) -> list[Tensor]:
    """All gradients that are set."""
    return [parameter.grad for parameter in module.parameters() if parameter.grad is not None]


def unused_parameters(module: nn.Module, loss: Tensor) -> list[str]:
    """Names of trainable parameters that a loss does not depend on, from its graph.

    Nothing is computed, so no gradient hook runs.
    """
    reached: set[int] = set()
    seen: set[Any] = set()
    nodes: list[Any] = [loss.grad_fn]
    while nodes:
        node = nodes.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        variable = getattr(node, "variable", None)  # leaf nodes have it
        if variable is not None:
            reached.add(id(variable))
        nodes += [following for following, _ in node.next_functions]
    return [
        name
        for name, parameter in module.named_parameters()
        if parameter.requires_grad and id(parameter) not in reached
    ]


def fractions_out_of_range(gradients: list[Tensor], dtype: torch.dtype, scale: float) -> dict[str, Tensor]:
    """Fractions of a gradient's elements outside a number format's range.

    Args:
        gradients: The unscaled gradient.
        dtype: The format in which it was computed.
        scale: Loss scale.

    Returns:
        ``zero``; ``underflow``: nonzero but, scaled, below the smallest normal number; ``overflow``: not
        finite.
    """
    magnitude = torch.cat([gradient.flatten() for gradient in gradients]).abs()
    zero = magnitude == 0
    small = magnitude < torch.finfo(dtype).tiny / scale
    parts = {"zero": zero, "underflow": small & ~zero, "overflow": ~torch.isfinite(magnitude)}
    return {name: part.float().mean() for name, part in parts.items()}
