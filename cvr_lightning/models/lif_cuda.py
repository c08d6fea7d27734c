"""The neurons on a CUDA device as one Triton kernel forward and one backward.

A program takes one channel of one sequence through all steps, its state in registers. Tested in Triton's
interpreter on the CPU against the equations; **not yet run on a GPU**, where neither results nor speed have
been measured.

Only to be imported where triton is installed, as it is with torch's CUDA builds.
"""

from __future__ import annotations

import functools
import math
from typing import Any, get_args

import torch
import triton
import triton.language as tl
from torch import Tensor

from cvr_lightning.models import lif_fused
from cvr_lightning.models.lif_fused import Gradients, Inputs, Passes
from cvr_lightning.models.surrogates import Surrogate

_PI = tl.constexpr(math.pi)


@triton.jit
def _step(u, threshold, z, q, r, k):  # type: ignore[no-untyped-def]
    """Membrane, trace and read-out after a step, and its spike."""
    spike = (u >= threshold).to(tl.float32)
    return u - spike * threshold, r * z + (1 - r) * spike, k * q + (1 - k) * spike, spike


@triton.jit
def _load(pointer, places, inside, given: tl.constexpr):  # type: ignore[no-untyped-def]
    """What is there; zeros where it is not given."""
    if given:
        return tl.load(pointer + places, mask=inside, other=0.0)
    return tl.zeros_like(places).to(tl.float32)


@triton.jit
def _softplus(x):  # type: ignore[no-untyped-def]
    return tl.maximum(x, 0.0) + tl.log(1 + tl.exp(-tl.abs(x)))


@triton.jit
def _slope(distance, surrogate: tl.constexpr):  # type: ignore[no-untyped-def]
    """The derivative of a surrogate, by its place among the names; see surrogates.py."""
    if surrogate == 0:
        x = _PI * distance
        return 1 / (1 + x * x)
    elif surrogate == 1:
        decay = tl.exp(-4 * tl.abs(distance))
        return 4 * decay / ((1 + decay) * (1 + decay))
    elif surrogate == 2:
        return tl.maximum(1 - tl.abs(distance), 0.0)
    else:
        x = 1 + 2 * tl.abs(distance)
        return 1 / (x * x)


@triton.jit
def _forward_kernel(  # type: ignore[no-untyped-def]
    current, mask, offset, constants, membrane, trace, readout, spikes, end_readout, end_states, steps, width,
    shifted: tl.constexpr, carried: tl.constexpr, kept: tl.constexpr, block: tl.constexpr,
):  # fmt: skip
    c, m = tl.program_id(0), tl.program_id(1)
    channels, sequences = tl.num_programs(0), tl.num_programs(1)
    place = tl.arange(0, block)
    inside = place < width
    state = (m * channels + c) * width + place  # within (M, C, H W)
    size = sequences.to(tl.int64) * channels * width  # times T it may need more than 32 bits
    a, b = tl.load(constants + c), tl.load(constants + channels + c)
    r, k = tl.load(constants + 2 * channels + c), tl.load(constants + 3 * channels + c)
    base = _softplus(tl.load(constants + 4 * channels + c) + _load(offset, state, inside, shifted))
    v = _load(membrane, state, inside, carried)
    z = _load(trace, state, inside, carried)
    q = _load(readout, state, inside, carried)
    for t in range(steps):
        alive = tl.load(mask + t * sequences + m) != 0
        u = a * v + tl.load(current + t * size + state, mask=inside, other=0.0)
        next_v, next_z, next_q, spike = _step(u, base + b * z, z, q, r, k)
        v, z, q = tl.where(alive, next_v, v), tl.where(alive, next_z, z), tl.where(alive, next_q, q)
        tl.store(spikes + t * size + state, tl.where(alive, spike, 0.0), mask=inside)
    tl.store(end_readout + state, q, mask=inside)
    if kept:
        tl.store(end_states + state, v, mask=inside)
        tl.store(end_states + size + state, z, mask=inside)


@triton.jit
def _backward_kernel(  # type: ignore[no-untyped-def]
    current, mask, offset, constants, membrane, trace, readout,
    d_spikes, d_membrane, d_trace, d_readout, d_current, d_offset, d_constants, d_start, past,
    steps, width, surrogate: tl.constexpr, shifted: tl.constexpr, carried: tl.constexpr,
    with_spikes: tl.constexpr, with_membrane: tl.constexpr, with_trace: tl.constexpr,
    with_readout: tl.constexpr, block: tl.constexpr,
):  # fmt: skip
    c, m = tl.program_id(0), tl.program_id(1)
    channels, sequences = tl.num_programs(0), tl.num_programs(1)
    place = tl.arange(0, block)
    inside = place < width
    state = (m * channels + c) * width + place
    size = sequences.to(tl.int64) * channels * width  # times T it may need more than 32 bits
    a, b = tl.load(constants + c), tl.load(constants + channels + c)
    r, k = tl.load(constants + 2 * channels + c), tl.load(constants + 3 * channels + c)
    raw = tl.load(constants + 4 * channels + c) + _load(offset, state, inside, shifted)
    base = _softplus(raw)
    v = _load(membrane, state, inside, carried)
    z = _load(trace, state, inside, carried)
    q = _load(readout, state, inside, carried)
    for t in range(steps):  # once more, to know the state before each step
        tl.store(past + 3 * t * size + state, v, mask=inside)
        tl.store(past + (3 * t + 1) * size + state, z, mask=inside)
        tl.store(past + (3 * t + 2) * size + state, q, mask=inside)
        alive = tl.load(mask + t * sequences + m) != 0
        u = a * v + tl.load(current + t * size + state, mask=inside, other=0.0)
        next_v, next_z, next_q, _ = _step(u, base + b * z, z, q, r, k)
        v, z, q = tl.where(alive, next_v, v), tl.where(alive, next_z, z), tl.where(alive, next_q, q)
    tl.debug_barrier()  # the past is read by the threads that wrote it, or after them

    dv = _load(d_membrane, state, inside, with_membrane)
    dz = _load(d_trace, state, inside, with_trace)
    dq = _load(d_readout, state, inside, with_readout)
    da, db, dr, dk = tl.zeros_like(v), tl.zeros_like(v), tl.zeros_like(v), tl.zeros_like(v)
    d_base = tl.zeros_like(v)
    for reverse in range(steps):
        t = steps - 1 - reverse
        alive = tl.load(mask + t * sequences + m) != 0
        v = tl.load(past + 3 * t * size + state, mask=inside, other=0.0)
        z = tl.load(past + (3 * t + 1) * size + state, mask=inside, other=0.0)
        q = tl.load(past + (3 * t + 2) * size + state, mask=inside, other=0.0)
        u = a * v + tl.load(current + t * size + state, mask=inside, other=0.0)
        threshold = base + b * z
        spike = (u >= threshold).to(tl.float32)
        ds = _load(d_spikes, t * size + state, inside, with_spikes)
        ds += -dv * threshold + dz * (1 - r) + dq * (1 - k)
        d_distance = ds * _slope(u - threshold, surrogate)
        du = tl.where(alive, dv + d_distance, 0.0)
        d_threshold = tl.where(alive, -dv * spike - d_distance, 0.0)
        tl.store(d_current + t * size + state, du, mask=inside)
        da += du * v
        db += d_threshold * z
        dr += tl.where(alive, dz * (z - spike), 0.0)
        dk += tl.where(alive, dq * (q - spike), 0.0)
        d_base += d_threshold
        dv = tl.where(alive, a * du, dv)
        dz = tl.where(alive, r * dz + b * d_threshold, dz)
        dq = tl.where(alive, k * dq, dq)
    d_raw = d_base / (1 + tl.exp(-raw))
    if shifted:
        tl.store(d_offset + state, d_raw, mask=inside)
    if carried:
        tl.store(d_start + state, dv, mask=inside)
        tl.store(d_start + size + state, dz, mask=inside)
        tl.store(d_start + 2 * size + state, dq, mask=inside)
    sums = d_constants + m * channels + c  # (5, M, C); places outside the width have added nothing
    rows = sequences * channels
    tl.store(sums, tl.sum(tl.where(inside, da, 0.0)))
    tl.store(sums + rows, tl.sum(tl.where(inside, db, 0.0)))
    tl.store(sums + 2 * rows, tl.sum(tl.where(inside, dr, 0.0)))
    tl.store(sums + 3 * rows, tl.sum(tl.where(inside, dk, 0.0)))
    tl.store(sums + 4 * rows, tl.sum(tl.where(inside, d_raw, 0.0)))


def _forward(inputs: Inputs, spikes: Tensor, readout: Tensor, states: Tensor | None) -> None:
    outputs = (spikes, readout, spikes if states is None else states)  # not written where None
    _launch(_forward_kernel, inputs, *outputs, carried=_start(inputs)[1], kept=states is not None)


def _backward(
    surrogate: Surrogate, inputs: Inputs, given: list[Tensor | None], gradients: Gradients
) -> Tensor:
    current = inputs.current
    steps, sequences, channels = current.shape[:3]
    d_constants = current.new_empty((5, sequences, channels))
    _launch(
        _backward_kernel,
        inputs,
        *(current if gradient is None else gradient for gradient in given),  # not read where None
        gradients.current,
        current if gradients.offset is None else gradients.offset,
        d_constants,
        current if gradients.start is None else gradients.start,
        current.new_empty((steps, 3, *current.shape[1:])),
        surrogate=get_args(Surrogate).index(surrogate),
        carried=_start(inputs)[1],
        with_spikes=given[0] is not None,
        with_membrane=given[1] is not None,
        with_trace=given[2] is not None,
        with_readout=given[3] is not None,
    )
    return d_constants.sum(dim=1)


integrate = functools.partial(lif_fused.integrate, Passes(_forward, _backward))
"""Run the neurons over T steps; see :func:`cvr_lightning.models.lif_plain.integrate`."""


def _start(inputs: Inputs) -> tuple[list[Tensor], bool]:
    """The state to start from, all of it if any; anything, which is not read, where there is none."""
    start, current = inputs[4:], inputs.current
    if all(state is None for state in start):
        return [current] * 3, False
    return [torch.zeros_like(current[0]) if state is None else state for state in start], True


def _launch(kernel: Any, inputs: Inputs, *outputs: Tensor, **options: Any) -> None:
    current, mask, offset, constants = inputs[:4]
    steps, sequences, channels = current.shape[:3]
    width = current[0, 0, 0].numel()
    start, _ = _start(inputs)
    # Triton launches on the current device, wherever the tensors are.
    with torch.cuda.device_of(current):  # type: ignore[no-untyped-call]
        kernel[(channels, sequences)](
            current, mask.to(torch.uint8), current if offset is None else offset, constants, *start, *outputs,
            steps, width, shifted=offset is not None, block=triton.next_power_of_2(width), **options,
        )  # fmt: skip
