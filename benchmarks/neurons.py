"""Time of the spiking layer (neurons and read-out) compared with a ReLU, forward and with backward.

The layer has its I-frame term and adaptation, runs a whole window, and its state is not kept. "plain" is the
same in plain torch operations; "ReLU" has no read-out. Shapes are those of the two stages of the presets.
Rounds are interleaved; values are medians of processor time, ratios are those of the medians.

    python benchmarks/bench.py --sections neurons [--rounds 30]
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch
from page import arguments, publish
from torch import Tensor
from torch.nn import functional as F

from cvr_lightning.models.neurons import AdaptiveLIF, equations

SHAPES = [
    (steps, segments, channels, side)
    for channels, side in ((32, 14), (64, 7), (64, 10), (128, 5), (128, 14))
    for steps, segments in ((3, 16), (3, 64), (8, 16), (8, 64))
]
"""T, M, C, H = W: both stages of tiny, of small, and the first of base."""


def main(given: list[str]) -> None:
    parser = arguments("neurons", __doc__)
    parser.add_argument("--rounds", type=int, default=30)
    options = parser.parse_args(given)
    torch.set_num_threads(1)
    protocol = f"One thread; medians of {options.rounds} interleaved rounds, milliseconds."
    lines = [
        "| T, M, C, H x W | ReLU | fused | plain | fused / ReLU | ReLU | fused | plain | fused / ReLU |",
        "|---|---|---|---|---|---|---|---|---|",
        "| | forward | | | | with backward | | | |",
    ]
    lines += [row(shape, options.rounds) for shape in SHAPES]
    publish(options.output, "The spiking layer compared with a ReLU", ("torch", "numba"), protocol, lines)


def row(shape: tuple[int, int, int, int], rounds: int) -> str:
    steps, segments, channels, side = shape
    cells = []
    for backward in (False, True):
        ways = contestants(steps, segments, channels, side, backward)
        relu, fused, plain = (1e3 * seconds for seconds in medians(ways, rounds, backward))
        cells.append(f"{relu:.2f} | {fused:.2f} | {plain:.2f} | {fused / relu:.2f}")
    return f"| {steps}, {segments}, {channels}, {side} x {side} | " + " | ".join(cells) + " |"


def contestants(
    steps: int, segments: int, channels: int, side: int, backward: bool
) -> list[Callable[[], object]]:
    torch.manual_seed(0)
    state = (segments, channels, side, side)
    current = torch.randn(steps, *state, requires_grad=backward)
    offset = (0.1 * torch.randn(state)).requires_grad_(backward)
    mask = torch.ones(steps, segments, dtype=torch.bool)
    decay = torch.full((channels, 1, 1), 0.5, requires_grad=backward)
    d_values, d_readout = torch.randn(steps, *state), torch.randn(state)
    neurons = AdaptiveLIF(channels).requires_grad_(backward)

    def relu() -> None:
        values = F.relu(current)
        if backward:
            torch.autograd.grad(values, current, d_values)

    def layer(compiled: bool) -> Callable[[], None]:
        wanted: list[Tensor] = [current, offset, decay, *neurons.parameters()]

        def run() -> None:
            equations._runs_compiled = lambda current: compiled
            fired = neurons(current, mask, offset, None, decay, keep_state=False)
            if backward:
                torch.autograd.grad([fired.spikes, fired.readout], wanted, [d_values, d_readout])

        return run

    return [relu, layer(compiled=True), layer(compiled=False)]


def medians(ways: list[Callable[[], object]], rounds: int, backward: bool) -> list[float]:
    times: list[list[float]] = [[] for _ in ways]
    for number in range(rounds + 3):
        for way, found in zip(ways, times, strict=True):
            start = time.process_time()
            with torch.set_grad_enabled(backward):
                way()
            if number >= 3:  # kernels are loaded and caches warm
                found.append(time.process_time() - start)
    return [statistics.median(found) for found in times]
