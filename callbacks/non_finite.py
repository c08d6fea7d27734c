"""Where in a model the first number that is not finite appears."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn


def locate_non_finite(module: nn.Module, run: Callable[[], Tensor], scale: float = 1.0) -> str | None:
    """Repeat a step, watched, and say where it first leaves the finite numbers.

    The gradients of the parameters are left as they are, and no hook on them runs.

    Args:
        module: The model; what is found is named as in its ``named_modules``.
        run: Computes the loss.
        scale: What the loss is multiplied with before the backward pass.

    Returns:
        Weights, an input or output in the forward pass, or a gradient in the backward pass; None where all of
        them are finite.
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
    """Notes the outputs of all layers in the order in which they end, and the first that is not finite."""

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
                if tensor.requires_grad and id(tensor) not in self._noted:  # a parent hands on its child's
                    self._noted.add(id(tensor))
                    self.outputs.append((name, tensor))

        return hook


def _in_backward(module: nn.Module, loss: Tensor, outputs: list[tuple[str, Tensor]]) -> str | None:
    """The first gradient that is not finite: of the layers' outputs from the last, then of the weights."""
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
    """The floating-point tensors of an argument or a result."""
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
