"""A layer of spiking neurons on the card: plain, recomputing, compiled and a Triton kernel, with a ReLU.

Shapes are the layers of the presets for 16 clips of 8 segments x 3 P-frames. Forward as in inference; with
backward, gradients of all inputs. Peak memory is that of one call beyond its inputs.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from gpu_device import Note, Plan, Records, device, peak_mib, per_call, reason
from measured import Measured
from torch import Tensor
from torch.nn import functional as F

from cvr_lightning.models import PRESETS
from cvr_lightning.models.neurons import equations

TITLE = "Spiking neurons"
PROTOCOL = (
    "float32, up to 4 spikes per step, 3 steps, 128 segments (16 clips of 8); one call, and the peak of its "
    "memory. Recomputing keeps only the inputs for the backward pass."
)
LEVELS, STEPS, SEGMENTS = 4, 3, 128
TOLERANCE = 1e-4
"""Largest relative difference from the plain equations that a way may have, of gradients too."""
Way = Callable[..., tuple[Tensor, Tensor, Tensor | None]]


def measure(plan: Plan) -> Records:
    for shape in shapes(plan):
        inputs = draw(*shape)
        *_, channels, side = shape
        group = f"{channels} channels, {side} x {side}"
        working = {}
        for name, way in ways(plan).items():
            try:
                check(way, inputs)
            except Exception as error:  # whatever a compiler raises, or a result that is not the plain one
                yield Note(f"{name}, {group}", reason(error))
                continue
            working[name] = way
        for backward in (False, True):
            how = f"{group}, {'with backward' if backward else 'forward'}"
            calls = {name: partial(run, way, inputs, backward) for name, way in working.items()}
            calls["ReLU"] = partial(relu, inputs, backward)
            for name, seconds in per_call(calls, plan).items():
                yield Measured(name, "microseconds", tuple(1e6 * s for s in seconds), how)
            for name, call in calls.items():
                peak = peak_mib(call)
                if peak is not None:
                    yield Measured(name, "MiB", (peak,), how)


def shapes(plan: Plan) -> list[tuple[int, int, int, int]]:
    """T, M, C, H = W of the layers at strides 16 and 32."""
    segments = 2 if plan.is_dry else SEGMENTS
    return [
        (STEPS, segments, channels, PRESETS[preset].crop // stride)
        for preset in plan.presets
        for channels, stride in zip(PRESETS[preset].pframe_widths, (16, 32), strict=True)
    ]


def ways(plan: Plan) -> dict[str, Way]:
    """The ways to run the neurons, each with the signature of the equations."""
    torch.compiler.reset()
    backend = "eager" if plan.is_dry else "inductor"
    plain = partial(equations.integrate, levels=LEVELS, keep_state=False)
    return {
        "plain": plain,
        "plain, recomputing": partial(plain, checkpoint_activations=True),
        "torch.compile": torch.compile(plain, dynamic=False, backend=backend),
        "Triton": partial(_triton, levels=LEVELS),
    }


def _triton(*inputs: Tensor | None, levels: int) -> tuple[Tensor, Tensor, None]:
    import gpu_triton  # imported here: an absent Triton is reported as a row that failed

    spikes, readout = gpu_triton.integrate(*inputs[:4], levels)
    return spikes, readout, None


def draw(steps: int, segments: int, channels: int, side: int) -> list[Tensor]:
    """Current, mask, threshold and constants, with gradients."""
    torch.manual_seed(0)
    state = (segments, channels, side, side)
    current = (1.3 * torch.randn(steps, *state)).to(device()).requires_grad_()
    mask = (torch.rand(steps, segments) > 0.1).to(device())
    threshold = torch.rand(state).sub(0.5).to(device()).requires_grad_()
    constants = (0.1 + 0.8 * torch.rand(4, channels)).to(device()).requires_grad_()
    return [current, mask, threshold, constants]


def run(way: Way, inputs: list[Tensor], backward: bool) -> list[Tensor]:
    """Spikes and readout, or the gradients of the sum of both."""
    with torch.set_grad_enabled(backward):
        spikes, readout, _ = way(*inputs, None)
        if not backward:
            return [spikes, readout]
        wanted = [tensor for tensor in inputs if tensor.requires_grad]
        return list(torch.autograd.grad([spikes, readout], wanted, [spikes.detach(), readout.detach()]))


def relu(inputs: list[Tensor], backward: bool) -> object:
    with torch.set_grad_enabled(backward):
        values = F.relu(inputs[0])
        return torch.autograd.grad(values, inputs[0], values.detach()) if backward else values


def check(way: Way, inputs: list[Tensor]) -> None:
    """Compare spikes, readout and gradients with the plain equations.

    Raises:
        ArithmeticError: They differ by more than a few spikes that rounding decides.
    """
    plain = partial(equations.integrate, levels=LEVELS, keep_state=False)
    for backward in (False, True):
        for found, expected in zip(run(way, inputs, backward), run(plain, inputs, backward), strict=True):
            scale = float(expected.abs().max())
            differ = (found - expected).abs() > TOLERANCE * scale
            if float(differ.float().mean()) > TOLERANCE:
                raise ArithmeticError(
                    f"{int(differ.sum())} of {differ.numel()} values differ from the equations"
                )
