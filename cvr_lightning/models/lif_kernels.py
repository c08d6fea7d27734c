"""Compiled loops of the neurons on the CPU: forward, and backward through time derived by hand.

The arrays are flat, float32, of (T, M, P) or (M, P) numbers with P = C H W elements of a segment; they are
empty where there is none. A kernel takes the elements from ``first`` to ``last`` of P, so threads can share
the work: what an element gives does not depend on how it is shared.

It takes as many elements at a time as a vector has lanes and runs them through time, state and gradients in
registers (see lanes.py). Only the constants of their channels, which lanes do not share, lie spread in memory
for a block of elements.
"""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np

from cvr_lightning.models.lanes import (
    LANES,
    choose,
    exponential,
    inlined,
    larger,
    load,
    logarithm_of_one_plus,
    splat,
    step,
    store,
)

_BLOCK = 4096
"""Elements of a block: their constants fit the second cache, and pages are read to their end."""
_ZERO = np.float32(0)
_ONE = np.float32(1)
_TWO = np.float32(2)
_FOUR = np.float32(4)
_PI = np.float32(math.pi)


@inlined
def _scratch(size: Any) -> Any:
    """Numbers that begin with a line of the cache, so that no vector lies across two."""
    numbers = np.empty(size + LANES, np.float32)
    first = -(numbers.ctypes.data // 4) % LANES
    return numbers[first : first + size]


@inlined
def _spread(target: Any, constants: Any, begin: Any, count: Any, width: Any) -> None:
    """Fill ``target`` (5, _BLOCK), flat, with the constants (5, C) of ``count`` elements from ``begin``."""
    for i in range(len(constants)):
        channel, j = begin // width, 0
        while j < count:
            end = min((channel + 1) * width - begin, count)
            target[i * _BLOCK + j : i * _BLOCK + end] = constants[i, channel]
            channel, j = channel + 1, end


@inlined
def _load_if_any(array: Any, at: Any, n: Any) -> Any:
    return load(array, at, n) if array.size else splat(_ZERO)


@inlined
def _magnitude(x: Any) -> Any:
    return larger(x, splat(_ZERO) - x)


@inlined
def _softplus(x: Any) -> Any:
    return larger(x, splat(_ZERO)) + logarithm_of_one_plus(exponential(splat(_ZERO) - _magnitude(x)))


@inlined
def _slope_of_softplus(x: Any) -> Any:
    decay = exponential(splat(_ZERO) - _magnitude(x))
    return larger(step(x, splat(_ZERO)), decay) / (splat(_ONE) + decay)


@numba.njit(nogil=True, error_model="numpy", cache=True)
def forward(
    first: Any,
    last: Any,
    current: Any,
    alive: Any,
    offset: Any,
    constants: Any,
    membrane: Any,
    trace: Any,
    readout: Any,
    spikes: Any,
    end_readout: Any,
    end_states: Any,
) -> None:
    """Fill ``spikes`` (T, M, P), ``end_readout`` (M, P) and, where not empty, ``end_states`` (2, M, P).

    ``alive`` is (T, M) bool, ``offset`` (M, P) or empty, ``constants`` (5, C): leak a, strength b, decay r of
    the trace, decay k of the read-out, threshold before its softplus. The state to start from is (M, P) each,
    the final one membrane and trace.
    """
    sequences = alive.shape[1]
    elements = end_readout.size // sequences
    inputs = (current, alive, offset, membrane, trace, readout)
    outputs = (spikes, end_readout, end_states)
    spread = _scratch(5 * _BLOCK)
    for begin in range(first, last, _BLOCK):
        count = min(_BLOCK, last - begin)
        _spread(spread, constants, begin, count, elements // constants.shape[1])
        whole = count - count % LANES
        for m in range(sequences):
            place = m * elements + begin
            for j in range(0, whole, LANES):
                _through_time(m, j, place + j, LANES, spread, inputs, outputs)
            if whole < count:
                _through_time(m, whole, place + whole, count - whole, spread, inputs, outputs)


@inlined
def _through_time(m: Any, j: Any, place: Any, n: Any, spread: Any, inputs: Any, outputs: Any) -> None:
    """Run n elements of a sequence, at a place of (M, P), with the constants at j of the block's.

    Nothing is asked of whole vectors, whose n the compiler knows. What a spike changes is chosen rather than
    multiplied by it, which is the same to the last bit and fewer instructions.
    """
    current, alive, offset, membrane, trace, readout = inputs
    spikes, end_readout, end_states = outputs
    size = end_readout.size
    zero, one = splat(_ZERO), splat(_ONE)
    a, b = load(spread, j, n), load(spread, _BLOCK + j, n)
    r, k = load(spread, 2 * _BLOCK + j, n), load(spread, 3 * _BLOCK + j, n)
    base = _softplus(load(spread, 4 * _BLOCK + j, n) + _load_if_any(offset, place, n))
    v = _load_if_any(membrane, place, n)
    z = _load_if_any(trace, place, n)
    q = _load_if_any(readout, place, n)
    for t in range(alive.shape[0]):
        at = t * size + place
        if not alive[t, m]:
            store(spikes, at, n, zero)
            continue
        u = a * v + load(current, at, n)
        threshold = base + b * z
        z, q = r * z, k * q
        v = choose(u, threshold, u - threshold, u)
        z = choose(u, threshold, z + (one - r), z)
        q = choose(u, threshold, q + (one - k), q)
        store(spikes, at, n, step(u, threshold))
    store(end_readout, place, n, q)
    if end_states.size:
        store(end_states, place, n, v)
        store(end_states, size + place, n, z)


@numba.njit(nogil=True, error_model="numpy", cache=True)
def backward(
    first: Any,
    last: Any,
    surrogate: Any,
    current: Any,
    alive: Any,
    offset: Any,
    constants: Any,
    membrane: Any,
    trace: Any,
    readout: Any,
    d_spikes: Any,
    d_membrane: Any,
    d_trace: Any,
    d_readout: Any,
    d_current: Any,
    d_offset: Any,
    d_constants: Any,
    d_start: Any,
) -> None:
    """Fill the gradients ``d_current``, ``d_offset``, ``d_constants`` (5, P) and ``d_start`` (3, M, P).

    The inputs are those of the forward pass and the gradients of its outputs. The states of the window are
    computed once more rather than kept. ``d_offset`` and ``d_start`` may be empty.
    """
    steps, sequences = alive.shape
    size = current.size // steps
    elements = size // sequences
    zero, one = splat(_ZERO), splat(_ONE)
    spread = _scratch(5 * _BLOCK)
    past = _scratch(steps * 4 * LANES)  # membrane, trace, read-out before each step, then distance
    for begin in range(first, last, _BLOCK):
        count = min(_BLOCK, last - begin)
        _spread(spread, constants, begin, count, elements // constants.shape[1])
        for m in range(sequences):
            for j in range(0, count, LANES):
                n = count - j
                place = m * elements + begin + j
                a, b = load(spread, j, n), load(spread, _BLOCK + j, n)
                r, k = load(spread, 2 * _BLOCK + j, n), load(spread, 3 * _BLOCK + j, n)
                raw = load(spread, 4 * _BLOCK + j, n) + _load_if_any(offset, place, n)
                base = _softplus(raw)
                v = _load_if_any(membrane, place, n)
                z = _load_if_any(trace, place, n)
                q = _load_if_any(readout, place, n)
                for t in range(steps):
                    h = 4 * t * LANES
                    store(past, h, LANES, v)
                    store(past, h + LANES, LANES, z)
                    store(past, h + 2 * LANES, LANES, q)
                    if alive[t, m]:
                        u = a * v + load(current, t * size + place, n)
                        threshold = base + b * z
                        store(past, h + 3 * LANES, LANES, u - threshold)
                        z, q = r * z, k * q
                        v = choose(u, threshold, u - threshold, u)
                        z = choose(u, threshold, z + (one - r), z)
                        q = choose(u, threshold, q + (one - k), q)
                dv = _load_if_any(d_membrane, place, n)
                dz = _load_if_any(d_trace, place, n)
                dq = _load_if_any(d_readout, place, n)
                da, db, dr, dk, d_base = zero, zero, zero, zero, zero
                for reverse in range(steps):
                    t = steps - 1 - reverse
                    if not alive[t, m]:
                        store(d_current, t * size + place, n, zero)
                        continue
                    h = 4 * t * LANES
                    v, z = load(past, h, LANES), load(past, h + LANES, LANES)
                    q, distance = load(past, h + 2 * LANES, LANES), load(past, h + 3 * LANES, LANES)
                    threshold = base + b * z
                    spike = step(distance, zero)
                    d_spike = _load_if_any(d_spikes, t * size + place, n)
                    d_spike = d_spike - dv * threshold + dz * (one - r) + dq * (one - k)
                    d_distance = d_spike * _slope(surrogate, distance)
                    du = dv + d_distance
                    d_threshold = zero - dv * spike - d_distance
                    store(d_current, t * size + place, n, du)
                    da = da + du * v
                    db = db + d_threshold * z
                    dr = dr + dz * (z - spike)
                    dk = dk + dq * (q - spike)
                    d_base = d_base + d_threshold
                    dv = a * du
                    dz = r * dz + b * d_threshold
                    dq = k * dq
                d_raw = d_base * _slope_of_softplus(raw)
                if d_offset.size:
                    store(d_offset, place, n, d_raw)
                if d_start.size:
                    store(d_start, place, n, dv)
                    store(d_start, size + place, n, dz)
                    store(d_start, 2 * size + place, n, dq)
                _add(d_constants, begin + j, n, da, m)
                _add(d_constants, elements + begin + j, n, db, m)
                _add(d_constants, 2 * elements + begin + j, n, dr, m)
                _add(d_constants, 3 * elements + begin + j, n, dk, m)
                _add(d_constants, 4 * elements + begin + j, n, d_raw, m)


@inlined
def _add(sums: Any, at: Any, n: Any, x: Any, m: Any) -> None:
    """The first sequence begins the sums."""
    store(sums, at, n, load(sums, at, n) + x if m else x)


@inlined
def _slope(surrogate: Any, distance: Any) -> Any:
    """The derivative of a surrogate, by its place among the names; see surrogates.py."""
    one = splat(_ONE)
    if surrogate == 0:
        x = splat(_PI) * distance
        return one / (one + x * x)
    if surrogate == 1:
        decay = exponential(splat(-_FOUR) * _magnitude(distance))
        return splat(_FOUR) * decay / ((one + decay) * (one + decay))
    if surrogate == 2:
        return larger(one - _magnitude(distance), splat(_ZERO))
    x = one + splat(_TWO) * _magnitude(distance)
    return one / (x * x)
