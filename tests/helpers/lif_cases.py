"""Random inputs of the neurons, for the tests of each way to run them."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

Outcome = tuple[Tensor, Tensor, Tensor | None]
"""Spikes, readout, and membrane and trace of :func:`cvr_lightning.models.neurons.equations.integrate`."""
STEPS, SEQUENCES, CHANNELS, SIDE = 7, 3, 5, 11  # 605 elements: the last vector of a block is not full


class Case:
    """Random inputs of which every one wants a gradient; a quarter of the P-frames do not exist."""

    def __init__(self, rest: bool = False, steps: int = STEPS) -> None:
        draw = torch.Generator().manual_seed(3)
        state = (SEQUENCES, CHANNELS, SIDE, SIDE)
        self.current = (1.3 * torch.randn(steps, *state, generator=draw)).requires_grad_()
        self.mask = torch.rand(steps, SEQUENCES, generator=draw) > 0.25
        self.threshold = torch.rand(state, generator=draw).requires_grad_()
        self.constants = (0.1 + 0.8 * torch.rand(4, CHANNELS, generator=draw)).requires_grad_()
        self.start = None if rest else torch.rand(3, *state, generator=draw).requires_grad_()
        outputs = [(steps, *state), state, (2, *state)]
        self.weights = [torch.randn(shape, generator=draw) for shape in outputs]

    @property
    def inputs(self) -> list[Tensor]:
        inputs = (self.current, self.threshold, self.constants, self.start)
        return [tensor for tensor in inputs if tensor is not None]

    def run(self, integrate: Callable[..., Outcome], **options: Any) -> Outcome:
        return integrate(self.current, self.mask, self.threshold, self.constants, self.start, **options)

    def gradients(self, outcome: Outcome) -> tuple[Tensor, ...]:
        loss = sum((out * weight).sum() for out, weight in zip(outcome, self.weights, strict=True))
        return torch.autograd.grad(loss, self.inputs)

    def double(self) -> "Case":
        """The same numbers in float64, with the state spelled out."""
        other = Case.__new__(Case)
        other.mask = self.mask
        other.weights = [weight.double() for weight in self.weights]
        start = self.current.new_zeros(3, *self.current.shape[1:]) if self.start is None else self.start
        given = {"current": self.current, "threshold": self.threshold, "constants": self.constants}
        for name, tensor in {**given, "start": start}.items():
            setattr(other, name, tensor.detach().double().requires_grad_())
        return other

    def on(self, device: torch.device) -> "Case":
        """The same numbers on a device."""
        other = Case.__new__(Case)
        other.mask = self.mask.to(device)
        other.weights = [weight.to(device) for weight in self.weights]
        for name in ("current", "threshold", "constants", "start"):
            tensor = getattr(self, name)
            setattr(other, name, None if tensor is None else tensor.detach().to(device).requires_grad_())
        return other
