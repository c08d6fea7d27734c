"""Random inputs of the neurons, for the tests of each way to run them."""

from collections.abc import Callable
from typing import Any, get_args

import torch
from torch import Tensor

from cvr_lightning.models.lif_plain import Outcome, Start
from cvr_lightning.models.surrogates import Surrogate

SURROGATES = get_args(Surrogate)
STEPS, SEQUENCES, CHANNELS, SIDE = 7, 3, 5, 11  # 605 elements: the last vector of the kernels is not full


class Case:
    """Random inputs of which every one wants a gradient; a quarter of the P-frames do not exist."""

    def __init__(
        self, static: bool = False, rest: bool = False, steps: int = STEPS, device: str = "cpu"
    ) -> None:
        draw = torch.Generator().manual_seed(3)
        state = (SEQUENCES, CHANNELS, SIDE, SIDE)

        def leaf(tensor: Tensor) -> Tensor:
            return tensor.to(device).requires_grad_()

        self.current = leaf(1.3 * torch.randn(steps, *state, generator=draw))
        self.mask = (torch.rand(steps, SEQUENCES, generator=draw) > 0.25).to(device)
        self.offset = None if static else leaf(torch.rand(state, generator=draw) - 0.5)
        self.constants = leaf(0.1 + 0.8 * torch.rand(5, CHANNELS, generator=draw))
        self.start = Start() if rest else Start(*(leaf(torch.rand(state, generator=draw)) for _ in range(3)))
        outputs = [(steps, *state), state, state, state]
        self.weights = [torch.randn(shape, generator=draw).to(device) for shape in outputs]

    @property
    def inputs(self) -> list[Tensor]:
        inputs = (self.current, self.offset, self.constants, *self.start)
        return [tensor for tensor in inputs if tensor is not None]

    def run(
        self, integrate: Callable[..., Outcome], surrogate: str = "arctangent", **options: Any
    ) -> Outcome:
        return integrate(
            self.current, self.mask, self.offset, self.constants, self.start, surrogate, **options
        )

    def gradients(self, outcome: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        loss = sum((out * weight).sum() for out, weight in zip(outcome, self.weights, strict=True))
        return torch.autograd.grad(loss, self.inputs)

    def double(self) -> "Case":
        """The same numbers in float64, with the state spelt out."""
        other = Case.__new__(Case)
        other.mask = self.mask
        other.weights = [weight.double() for weight in self.weights]
        zero = torch.zeros_like(self.current[0])
        for name in ("current", "offset", "constants"):
            tensor = getattr(self, name)
            setattr(other, name, None if tensor is None else tensor.detach().double().requires_grad_())
        start = (zero if state is None else state for state in self.start)
        other.start = Start(*(state.detach().double().requires_grad_() for state in start))
        return other
