"""Locates the first non-finite value in a model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn


def locate_non_finite(module: nn.Module, run: Callable[[], Tensor], scale: float = 1.0) -> str | None:
    """Repeat a step with hooks and name the first non-finite value.

    Gradients of the parameters are unchanged, and no hooks on them run.

    Args:
        module: The model; layers are named as in ``named_modules``.
        run: Computes the loss.
        scale: Loss scale of the backward pass.

    Returns:
        Names the weights, input or output in the forward pass, or gradient in the backward pass; None
        if all are finite.
    """
    for name, parameter in module.named_parameters():
        if not _finite(parameter):
            return f"the weights {name}"
    watch = _Watch()
    handles = [
        layer.register_forward_hook(watch.after(name)) for name, layer in module.named_modules() if name
    ]
    try:
        loss = run()
    finally:
        for handle in handles:
            handle.remove()
    if watch.found or not _finite(loss):
        return watch.found or "the loss"
    return _in_backward(module, loss * scale, watch.outputs)


class _Watch:
    """Records the outputs of all layers in order of execution, and the first non-finite one."""

    def __init__(self) -> None:
        self.found: str | None = None
        self.outputs: list[tuple[str, Tensor]] = []
        self._noted: set[int] = set()

    def after(self, name: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(layer: nn.Module, inputs: Any, output: Any) -> None:
            for tensor in _tensors(output):
                if self.found is None and not _finite(tensor):
                    side = "output" if all(map(_finite, _tensors(inputs))) else "input"
                    self.found = f"the {side} of {name} ({type(layer).__name__}, {_name(tensor.dtype)})"
                # A parent may return its child's output.
                if tensor.requires_grad and id(tensor) not in self._noted:
                    self._noted.add(id(tensor))
                    self.outputs.append((name, tensor))

        return hook


def _in_backward(module: nn.Module, loss: Tensor, outputs: list[tuple[str, Tensor]]) -> str | None:
    """The first non-finite gradient: of layer outputs from last to first, then of weights."""
    watched = [(f"the output of {name}", tensor) for name, tensor in reversed(outputs)]
    watched += [
        (f"the weights {name}", weight) for name, weight in module.named_parameters() if weight.requires_grad
    ]
    gradients = torch.autograd.grad(loss, [tensor for _, tensor in watched], allow_unused=True)
    for (what, _), gradient in zip(watched, gradients, strict=True):
        if gradient is not None and not _finite(gradient):
            return f"the gradient of {what} ({_name(gradient.dtype)})"
    return None


def _tensors(value: Any) -> Iterator[Tensor]:
    """Yield the floating-point tensors of an argument or result."""
    if isinstance(value, Tensor):
        if value.is_floating_point():
            yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _tensors(item)
    elif isinstance(value, dict):
        yield from _tensors(list(value.values()))


def _finite(tensor: Tensor) -> bool:
    return bool(torch.isfinite(tensor).all())


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
