"""Time of the spiking layer (neurons and read-out) against a ReLU of its shape, forward and with backward.

The layer has its I-frame term and adaptation and runs a whole window, whose state nobody carries on from;
"plain" is the same in plain torch operations, "ReLU" has no read-out. Shapes are those of the presets' two
stages. Rounds are interleaved; figures are medians of processor time over the rounds, which other programs on
the machine stretch little, ratios those of the medians.

    python benchmarks/neurons.py [--rounds 30] [--output FILE]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from machine import heading
from torch import Tensor
from torch.nn import functional as F

from cvr_lightning.models.neurons import AdaptiveLIF, equations

SHAPES = [
    (steps, segments, channels, side)
    for channels, side in ((32, 14), (64, 7), (64, 10), (128, 5), (128, 14))
    for steps, segments in ((3, 16), (3, 64), (8, 16), (8, 64))
]
"""T, M, C, H = W: both stages of tiny, of small, and the first of base."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--output", type=Path, help="also append the report to this file")
    options = parser.parse_args()
    torch.set_num_threads(1)
    protocol = f"One thread; medians of {options.rounds} interleaved rounds, milliseconds."
    lines = [
        heading("The spiking layer against a ReLU", ("torch", "numba"), protocol),
        "",
        "| T, M, C, H x W | ReLU | fused | plain | fused / ReLU | ReLU | fused | plain | fused / ReLU |",
        "|---|---|---|---|---|---|---|---|---|",
        "| | forward | | | | with backward | | | |",
    ]
    lines += [row(shape, options.rounds) for shape in SHAPES]
    report = "\n".join(lines)
    print(report)
    if options.output:
        with options.output.open("a", encoding="utf-8") as file:
            file.write(report + "\n")


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


if __name__ == "__main__":
    main()
