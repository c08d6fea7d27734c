"""The spiking neurons as one Triton kernel each way: a candidate, to be compared with ``torch.compile``.

A program takes a block of neurons through all steps with its state in registers. The equations, and what is
recomputed for the backward pass, are those of ``cvr_lightning/models/neurons``; neurons start at rest and
their final state is not returned.

Shape suffixes: T steps, M segments, C channels, H, W positions.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

from cvr_lightning.models.neurons.kernels import LEAST_WIDTH

BLOCK = 256
_LEAST_WIDTH = tl.constexpr(LEAST_WIDTH)


def integrate(
    current_TMCHW: Tensor, mask_TM: Tensor, threshold_MCHW: Tensor, constants_4C: Tensor, levels: int
) -> tuple[Tensor, Tensor]:
    """Spikes (T, M, C, H, W) and readout (M, C, H, W) of neurons at rest, float32."""
    inputs = (current_TMCHW, mask_TM.to(torch.uint8), threshold_MCHW, constants_4C)
    result: tuple[Tensor, Tensor] = _LIF.apply(levels, *(tensor.contiguous() for tensor in inputs))
    return result


class _LIF(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, levels: int, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(*inputs)
        ctx.levels = levels
        spikes, readout = torch.empty_like(inputs[0]), torch.empty_like(inputs[2])
        _launch(_forward, levels, *inputs, spikes, readout)
        return spikes, readout

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_spikes: Tensor, d_readout: Tensor) -> tuple[Tensor | None, ...]:
        current, _, threshold, constants = inputs = ctx.saved_tensors
        d_current, d_threshold = torch.empty_like(current), torch.empty_like(threshold)
        d_constants = current.new_empty((4, *threshold.shape))
        past = current.new_empty((3 * len(current), *threshold.shape))
        gradients = (d_spikes.contiguous(), d_readout.contiguous(), d_current, d_threshold, d_constants, past)
        _launch(_backward, ctx.levels, *inputs, *gradients)
        return None, d_current, None, d_threshold, d_constants.sum(dim=(1, 3, 4)).view_as(constants)


def _launch(kernel: Any, levels: int, *tensors: Tensor) -> None:
    current = tensors[0]
    steps, segments, channels = current.shape[:3]
    size = current[0].numel()
    grid = (triton.cdiv(size, BLOCK),)
    kernel[grid](*tensors, size, segments, channels, size // (segments * channels), steps, levels, BLOCK)


@triton.jit
def _softplus(x):  # type: ignore[no-untyped-def]
    return tl.maximum(x, 0.0) + tl.log(1 + tl.exp(-tl.abs(x)))


@triton.jit
def _spikes(u, threshold, levels: tl.constexpr):  # type: ignore[no-untyped-def]
    count = tl.zeros_like(u)
    for level in tl.static_range(1, levels + 1):
        count += (u >= level * threshold).to(tl.float32)
    return count


@triton.jit
def _constants_of(constants, c, channels, inside):  # type: ignore[no-untyped-def]
    a = tl.load(constants + c, mask=inside)
    b = tl.load(constants + channels + c, mask=inside)
    r = tl.load(constants + 2 * channels + c, mask=inside)
    k = tl.load(constants + 3 * channels + c, mask=inside)
    return a, b, r, k


@triton.jit
def _forward(  # type: ignore[no-untyped-def]
    current, mask, raw, constants, spikes, readout,
    size, segments, channels, places, steps,
    levels: tl.constexpr, block: tl.constexpr,
):  # fmt: skip
    at = tl.program_id(0) * block + tl.arange(0, block)
    inside = at < size
    c, m = at // places % channels, at // (places * channels)
    a, b, r, k = _constants_of(constants, c, channels, inside)
    base = _softplus(tl.load(raw + at, mask=inside))
    v, z, q = tl.zeros_like(base), tl.zeros_like(base), tl.zeros_like(base)
    for t in range(steps):
        alive = tl.load(mask + t * segments + m, mask=inside) != 0
        u = a * v + tl.load(current + t * size + at, mask=inside)
        threshold = base + b * z
        count = tl.where(alive, _spikes(u, threshold, levels), 0.0)
        v = tl.where(alive, u - count * threshold, v)
        z = tl.where(alive, r * z + (1 - r) * (count / levels), z)
        q = tl.where(alive, k * q + (1 - k) * (count / levels), q)
        tl.store(spikes + t * size + at, count, mask=inside)
    tl.store(readout + at, q, mask=inside)


@triton.jit
def _backward(  # type: ignore[no-untyped-def]
    current, mask, raw, constants, d_spikes, d_readout, d_current, d_raw, d_constants, past,
    size, segments, channels, places, steps,
    levels: tl.constexpr, block: tl.constexpr,
):  # fmt: skip
    at = tl.program_id(0) * block + tl.arange(0, block)
    inside = at < size
    c, m = at // places % channels, at // (places * channels)
    a, b, r, k = _constants_of(constants, c, channels, inside)
    resting = tl.load(raw + at, mask=inside)
    base = _softplus(resting)
    v, z, q = tl.zeros_like(base), tl.zeros_like(base), tl.zeros_like(base)
    for t in range(steps):  # recompute the states before each step
        tl.store(past + 3 * t * size + at, v, mask=inside)
        tl.store(past + (3 * t + 1) * size + at, z, mask=inside)
        tl.store(past + (3 * t + 2) * size + at, q, mask=inside)
        alive = tl.load(mask + t * segments + m, mask=inside) != 0
        u = a * v + tl.load(current + t * size + at, mask=inside)
        threshold = base + b * z
        count = _spikes(u, threshold, levels)
        v = tl.where(alive, u - count * threshold, v)
        z = tl.where(alive, r * z + (1 - r) * (count / levels), z)
        q = tl.where(alive, k * q + (1 - k) * (count / levels), q)
    tl.debug_barrier()  # other threads may load what these have stored
    dv, dz, dq = tl.zeros_like(base), tl.zeros_like(base), tl.load(d_readout + at, mask=inside)
    da, db, dr, dk = tl.zeros_like(base), tl.zeros_like(base), tl.zeros_like(base), tl.zeros_like(base)
    d_base = tl.zeros_like(base)
    for reverse in range(steps):
        t = steps - 1 - reverse
        alive = tl.load(mask + t * segments + m, mask=inside) != 0
        v = tl.load(past + 3 * t * size + at, mask=inside)
        z = tl.load(past + (3 * t + 1) * size + at, mask=inside)
        q = tl.load(past + (3 * t + 2) * size + at, mask=inside)
        u = a * v + tl.load(current + t * size + at, mask=inside)
        threshold = base + b * z
        rate = _spikes(u, threshold, levels) / levels
        narrowing = 1 / tl.maximum(threshold, _LEAST_WIDTH)
        slope, slope_of_threshold = tl.zeros_like(base), tl.zeros_like(base)
        for level in tl.static_range(1, levels + 1):
            of_level = tl.maximum(1 - tl.abs(u - level * threshold) * narrowing, 0.0) * narrowing
            slope += of_level
            slope_of_threshold += level * of_level
        d_count = tl.load(d_spikes + t * size + at, mask=inside) - dv * threshold
        d_count += (dz * (1 - r) + dq * (1 - k)) / levels
        du = tl.where(alive, dv + d_count * slope, 0.0)
        d_threshold = tl.where(alive, -dv * rate * levels - d_count * slope_of_threshold, 0.0)
        tl.store(d_current + t * size + at, du, mask=inside)
        da += du * v
        db += d_threshold * z
        dr += tl.where(alive, dz * (z - rate), 0.0)
        dk += tl.where(alive, dq * (q - rate), 0.0)
        d_base += d_threshold
        dv = tl.where(alive, a * du, dv)
        dz = tl.where(alive, r * dz + b * d_threshold, dz)
        dq = tl.where(alive, k * dq, dq)
    tl.store(d_raw + at, d_base / (1 + tl.exp(-resting)), mask=inside)
    tl.store(d_constants + at, da, mask=inside)
    tl.store(d_constants + size + at, db, mask=inside)
    tl.store(d_constants + 2 * size + at, dr, mask=inside)
    tl.store(d_constants + 3 * size + at, dk, mask=inside)
