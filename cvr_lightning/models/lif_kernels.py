"""Compiled loops of the neurons on the CPU: forward, and backward through time derived by hand.

The arrays are (T, M, P) with P = C H W elements of a segment, float32, contiguous. A kernel takes the
elements from ``first`` to ``last`` of P, so threads can share the work: what an element gives does not depend
on how it is shared. It goes in blocks of elements whose state stays in the nearest cache while time passes.

LLVM finds vector instructions for these loops on three conditions, each tried: the rows belong to one scratch
array, whose distances it knows (a call would hide them, so the kernels are long); loops run upwards over
``range(len(row))``, in time too; and divisions do not check for zero, hence numpy's error model.
"""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np

_BLOCK = 496
"""Elements of a block. Rows of scratch must not lie a multiple of 4096 bytes apart: they would look alike."""
_ZERO = np.float32(0)
_ONE = np.float32(1)
_TWO = np.float32(2)
_FOUR = np.float32(4)
_PI = np.float32(math.pi)

_inlined = numba.njit(nogil=True, error_model="numpy", inline="always")


@_inlined
def _fill(target: Any, value: Any) -> None:
    for j in range(len(target)):
        target[j] = value


@_inlined
def _copy(target: Any, source: Any) -> None:
    for j in range(len(target)):
        target[j] = source[j]


@_inlined
def _load(target: Any, source: Any, row: Any, first: Any) -> None:
    """Elements of a row of ``source``, zeros where it is empty."""
    if source.size:
        _copy(target, source[row, first : first + len(target)])
    else:
        _fill(target, _ZERO)


@_inlined
def _spread(target: Any, per_channel: Any, first: Any, width: Any) -> None:
    """The constant of each element's channel."""
    for j in range(len(target)):
        target[j] = per_channel[(first + j) // width]


@numba.njit(nogil=True, error_model="numpy", cache=True)
def forward(
    first: Any,
    last: Any,
    current: Any,
    alive: Any,
    baseline: Any,
    constants: Any,
    membrane: Any,
    trace: Any,
    readout: Any,
    spikes: Any,
    end: Any,
) -> None:
    """Fill ``spikes`` (T, M, P) and ``end`` (3, M, P): final membrane, trace and read-out.

    ``alive`` is (T, M) bool, ``baseline`` (M or 1, P), ``constants`` (4, C): leak a, strength b, decay r of
    the trace, decay k of the read-out. The state to start from is (M, P) each, or empty for rest.
    """
    steps, sequences, elements = current.shape
    width = elements // constants.shape[1]
    w = np.empty((7, _BLOCK), np.float32)  # a, b, r, k, membrane, trace, read-out
    for begin in range(first, last, _BLOCK):
        n = min(_BLOCK, last - begin)
        for i in range(4):
            _spread(w[i, :n], constants[i], begin, width)
        for m in range(sequences):
            _load(w[4, :n], membrane, m, begin)
            _load(w[5, :n], trace, m, begin)
            _load(w[6, :n], readout, m, begin)
            base = baseline[m if len(baseline) > 1 else 0, begin : begin + n]
            for t in range(steps):
                x = current[t, m, begin : begin + n]
                s = spikes[t, m, begin : begin + n]
                if not alive[t, m]:
                    _fill(s, _ZERO)
                    continue
                for j in range(len(x)):
                    u = w[0, j] * w[4, j] + x[j]
                    threshold = base[j] + w[1, j] * w[5, j]
                    spike = _ONE if u >= threshold else _ZERO
                    s[j] = spike
                    w[4, j] = u - spike * threshold
                    w[5, j] = w[2, j] * w[5, j] + (_ONE - w[2, j]) * spike
                    w[6, j] = w[3, j] * w[6, j] + (_ONE - w[3, j]) * spike
            for i in range(3):
                _copy(end[i, m, begin : begin + n], w[4 + i])


@numba.njit(nogil=True, error_model="numpy", cache=True)
def backward(
    first: Any,
    last: Any,
    surrogate: Any,
    current: Any,
    alive: Any,
    baseline: Any,
    constants: Any,
    membrane: Any,
    trace: Any,
    readout: Any,
    d_spikes: Any,
    d_membrane: Any,
    d_trace: Any,
    d_readout: Any,
    d_current: Any,
    d_baseline: Any,
    d_constants: Any,
    d_start: Any,
) -> None:
    """Fill the gradients ``d_current``, ``d_baseline``, ``d_constants`` (4, P) and ``d_start`` (3, M, P).

    The inputs are those of the forward pass and the gradients of its outputs, empty where there are none.
    The states of the window are computed once more rather than kept. ``d_start`` may be empty.
    """
    steps, sequences, elements = current.shape
    width = elements // constants.shape[1]
    # a, b, r, k; gradients of a, b, r, k; of membrane, trace, read-out; of the baseline
    # and the spikes; distance to the threshold, slope there
    w = np.empty((14, _BLOCK), np.float32)
    past = np.empty((steps + 1, 4, _BLOCK), np.float32)  # before each step, and its distance
    for begin in range(first, last, _BLOCK):
        n = min(_BLOCK, last - begin)
        for i in range(4):
            _spread(w[i, :n], constants[i], begin, width)
        for i in range(4, 8):
            _fill(w[i], _ZERO)
        _fill(w[11], _ZERO)
        for m in range(sequences):
            base = baseline[m if len(baseline) > 1 else 0, begin : begin + n]
            _load(past[0, 0, :n], membrane, m, begin)
            _load(past[0, 1, :n], trace, m, begin)
            _load(past[0, 2, :n], readout, m, begin)
            for t in range(steps):
                x = current[t, m, begin : begin + n]
                h = past[t : t + 2]
                if alive[t, m]:
                    for j in range(len(x)):
                        u = w[0, j] * h[0, 0, j] + x[j]
                        threshold = base[j] + w[1, j] * h[0, 1, j]
                        spike = _ONE if u >= threshold else _ZERO
                        h[0, 3, j] = u - threshold
                        h[1, 0, j] = u - spike * threshold
                        h[1, 1, j] = w[2, j] * h[0, 1, j] + (_ONE - w[2, j]) * spike
                        h[1, 2, j] = w[3, j] * h[0, 2, j] + (_ONE - w[3, j]) * spike
                else:
                    for i in range(3):
                        _copy(h[1, i], h[0, i])
            _load(w[8, :n], d_membrane, m, begin)
            _load(w[9, :n], d_trace, m, begin)
            _load(w[10, :n], d_readout, m, begin)
            if len(baseline) > 1:
                _fill(w[11], _ZERO)
            for reverse in range(steps):
                t = steps - 1 - reverse
                x = current[t, m, begin : begin + n]
                dx = d_current[t, m, begin : begin + n]
                if not alive[t, m]:
                    _fill(dx, _ZERO)
                    continue
                if d_spikes.size:
                    _copy(w[12, :n], d_spikes[t, m, begin : begin + n])
                else:
                    _fill(w[12], _ZERO)
                h = past[t]
                _slope(surrogate, h[3, :n], w[13, :n])
                for j in range(len(x)):
                    v, z = h[0, j], h[1, j]
                    dv, dz, dq = w[8, j], w[9, j], w[10, j]
                    threshold = base[j] + w[1, j] * z
                    spike = _ONE if h[3, j] >= _ZERO else _ZERO
                    d_spike = w[12, j] - dv * threshold + dz * (_ONE - w[2, j]) + dq * (_ONE - w[3, j])
                    d_distance = d_spike * w[13, j]
                    du = dv + d_distance
                    d_threshold = -dv * spike - d_distance
                    dx[j] = du
                    w[4, j] += du * v
                    w[5, j] += d_threshold * z
                    w[6, j] += dz * (z - spike)
                    w[7, j] += dq * (h[2, j] - spike)
                    w[8, j] = w[0, j] * du
                    w[9, j] = w[2, j] * dz + w[1, j] * d_threshold
                    w[10, j] = w[3, j] * dq
                    w[11, j] += d_threshold
            if d_start.size:
                for i in range(3):
                    _copy(d_start[i, m, begin : begin + n], w[8 + i])
            if len(baseline) > 1:
                _copy(d_baseline[m, begin : begin + n], w[11])
        if len(baseline) == 1:
            _copy(d_baseline[0, begin : begin + n], w[11])
        for i in range(4):
            _copy(d_constants[i, begin : begin + n], w[4 + i])


@_inlined
def _slope(surrogate: Any, distance: Any, slope: Any) -> None:
    """The derivative of a surrogate, by its place among the names; see surrogates.py."""
    if surrogate == 0:
        for j in range(len(distance)):
            x = _PI * distance[j]
            slope[j] = _ONE / (_ONE + x * x)
    elif surrogate == 1:
        for j in range(len(distance)):
            decay = np.float32(math.exp(-_FOUR * abs(distance[j])))
            slope[j] = _FOUR * decay / ((_ONE + decay) * (_ONE + decay))
    elif surrogate == 2:
        for j in range(len(distance)):
            slope[j] = max(_ZERO, _ONE - abs(distance[j]))
    else:
        for j in range(len(distance)):
            x = _ONE + _TWO * abs(distance[j])
            slope[j] = _ONE / (x * x)
