"""Compiled kernels of the neurons: forward, and hand-derived backward through time.

The innermost loops run over neurons in contiguous float32, so LLVM vectorizes them. State, constants and
gradients of a block of neurons lie at fixed offsets in one scratch array that fits the L1 cache, so LLVM
needs no checks for overlapping arrays.

Arrays are (T, M, P) or (1 to 4, M, P) with P = C H W neurons of a segment, or empty if absent. A kernel
processes neurons ``first`` to ``last`` of P; results do not depend on how threads divide them.
"""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np

MAX_LEVELS = 4
"""Most spikes per step; loops over them are unrolled."""
LEAST_WIDTH = 0.1
"""Least half width of the surrogate gradient's triangle, which bounds its height at small thresholds."""
_LEAST_WIDTH = np.float32(LEAST_WIDTH)
_N = 496  # neurons of a block
_A, _B, _R, _K, _V, _Z, _Q = (i * _N for i in range(7))  # scratch offsets: constants, state
_DA, _DB, _DR, _DK, _DV, _DZ, _DQ = (i * _N for i in range(7, 14))  # and their gradients
_BASE, _DBASE, _NONE = 14 * _N, 15 * _N, 16 * _N  # threshold at rest, its gradient, zeros
_PAST = 17 * _N  # states before each step
_ZERO, _ONE, _TWO = np.float32(0), np.float32(1), np.float32(2)
_HALF, _SMALLEST, _LOG2_E = np.float32(0.5), np.float32(-87), np.float32(math.log2(math.e))
_LN_2_HIGH = np.float32(0.693359375)  # few digits, so its multiples are exact
_LN_2_LOW = np.float32(math.log(2) - 0.693359375)

_inlined = numba.njit(nogil=True, error_model="numpy", forceinline=True)


@_inlined
def _row(array: Any, i: Any, m: Any, begin: Any, n: Any, scratch: Any) -> Any:
    """The neurons of a block in an array; zeros if the array is empty."""
    return array[i, m, begin : begin + n] if array.size else scratch[_NONE : _NONE + n]


@_inlined
def _copy(source: Any, target: Any) -> None:
    for j in range(len(target)):
        target[j] = source[j]


@_inlined
def _fill(target: Any, value: Any) -> None:
    for j in range(len(target)):
        target[j] = value


@_inlined
def _begin_block(scratch: Any, constants: Any, begin: Any, n: Any, width: Any) -> None:
    """Zero the scratch array and load the constants of n neurons from ``begin``."""
    _fill(scratch[:_PAST], _ZERO)
    j = 0
    while j < n:
        channel = (begin + j) // width
        stop = min((channel + 1) * width - begin, n)
        for i in range(len(constants)):
            _fill(scratch[i * _N + j : i * _N + stop], constants[i, channel])
        j = stop


@_inlined
def _exp(x: Any) -> Any:
    """exp(x) for x <= 0, relative error 3e-7, clamped at -87; numba's own exp is not vectorized."""
    x = max(x, _SMALLEST)
    power = np.int32(x * _LOG2_E - _HALF)  # rounds, since a cast truncates
    x = x - np.float32(power) * _LN_2_HIGH - np.float32(power) * _LN_2_LOW
    series = _ONE
    for i in range(7, 0, -1):
        series = _ONE + x * series * (_ONE / np.float32(i))
    return series * np.int32((power + 127) << 23).view(np.float32)  # the bits of 2 ** power


@_inlined
def _softplus(x: Any) -> Any:
    """log(1 + exp(x)), relative error 3e-7, by the series of artanh."""
    y = _exp(-abs(x))
    w = y / (_TWO + y)
    square = w * w
    series = _ZERO
    for i in range(13, 0, -2):
        series = series * square + _ONE / np.float32(i)
    return max(x, _ZERO) + _TWO * w * series


@_inlined
def _rest(s: Any, raw: Any) -> None:
    """Compute thresholds at rest."""
    for j in range(len(raw)):
        s[_BASE + j] = _softplus(raw[j])


@_inlined
def _to_raw(s: Any, raw: Any, d_raw: Any) -> None:
    """Gradient of the thresholds before their softplus, whose derivative is the sigmoid."""
    for j in range(len(raw)):
        decay = _exp(-abs(raw[j]))
        d_raw[j] = s[_DBASE + j] * (_ONE if raw[j] >= _ZERO else decay) / (_ONE + decay)


@_inlined
def _step(a: Any, b: Any, r: Any, k: Any, v: Any, z: Any, q: Any, x: Any, baseline: Any, levels: Any) -> Any:
    """Return membrane, trace and readout after a step, and the spikes."""
    u = a * v + x
    threshold = baseline + b * z
    count = _ZERO
    for d in range(1, MAX_LEVELS + 1):
        count += _ONE if d <= levels and u >= np.float32(d) * threshold else _ZERO
    rate = count / np.float32(levels)
    return u - count * threshold, r * z + (_ONE - r) * rate, k * q + (_ONE - k) * rate, count


@numba.njit(nogil=True, error_model="numpy", cache=True)
def forward(
    first: Any,
    last: Any,
    current: Any,
    alive: Any,
    raw: Any,
    constants: Any,
    start: Any,
    levels: Any,
    spikes: Any,
    readout: Any,
    end: Any,
) -> None:
    """Fill ``spikes`` (T, M, P), ``readout`` (1, M, P) and, unless empty, ``end`` (2, M, P)."""
    steps, sequences, neurons = current.shape
    s = np.empty(_PAST, np.float32)
    for begin in range(first, last, _N):
        n = min(_N, last - begin)
        _begin_block(s, constants, begin, n, neurons // constants.shape[1])
        for m in range(sequences):
            for i in range(3):
                _copy(_row(start, i, m, begin, n, s), s[_V + i * _N : _V + i * _N + n])
            _rest(s, raw[0, m, begin : begin + n])
            for t in range(steps):
                spike = spikes[t, m, begin : begin + n]
                if alive[t, m]:
                    _fire(s, current[t, m, begin : begin + n], spike, levels)
                else:
                    _fill(spike, _ZERO)
            _copy(s[_Q : _Q + n], readout[0, m, begin : begin + n])
            for i in range(len(end)):
                _copy(s[_V + i * _N : _V + i * _N + n], end[i, m, begin : begin + n])


@_inlined
def _fire(s: Any, current: Any, spikes: Any, levels: Any) -> None:
    for j in range(len(current)):
        s[_V + j], s[_Z + j], s[_Q + j], spikes[j] = _step(
            s[_A + j],
            s[_B + j],
            s[_R + j],
            s[_K + j],
            s[_V + j],
            s[_Z + j],
            s[_Q + j],
            current[j],
            s[_BASE + j],
            levels,
        )


@numba.njit(nogil=True, error_model="numpy", cache=True)
def backward(
    first: Any,
    last: Any,
    current: Any,
    alive: Any,
    raw: Any,
    constants: Any,
    start: Any,
    levels: Any,
    d_spikes: Any,
    d_readout: Any,
    d_end: Any,
    d_current: Any,
    d_raw: Any,
    d_constants: Any,
    d_start: Any,
) -> None:
    """Fill the input gradients from the output gradients; ``d_constants`` is (4, 1, P)."""
    steps, sequences, neurons = current.shape
    s = np.empty(_PAST + 3 * _N * (steps + 1), np.float32)
    for begin in range(first, last, _N):
        n = min(_N, last - begin)
        _begin_block(s, constants, begin, n, neurons // constants.shape[1])
        for m in range(sequences):
            _rest(s, raw[0, m, begin : begin + n])
            for i in range(3):
                h = _PAST + i * _N
                _copy(_row(start, i, m, begin, n, s), s[h : h + n])
            for t in range(steps):
                past = s[_PAST + 3 * t * _N : _PAST + 3 * (t + 2) * _N]
                if alive[t, m]:
                    _carry(s, past, current[t, m, begin : begin + n], levels)
                else:
                    _copy(past[: 3 * _N], past[3 * _N :])
            _copy(_row(d_end, 0, m, begin, n, s), s[_DV : _DV + n])
            _copy(_row(d_end, 1, m, begin, n, s), s[_DZ : _DZ + n])
            _copy(_row(d_readout, 0, m, begin, n, s), s[_DQ : _DQ + n])
            _fill(s[_DBASE : _DBASE + n], _ZERO)
            for t in range(steps - 1, -1, -1):
                past = s[_PAST + 3 * t * _N : _PAST + 3 * (t + 1) * _N]
                d_x = d_current[t, m, begin : begin + n]
                if alive[t, m]:
                    d_spike = _row(d_spikes, t, m, begin, n, s)
                    _go_back(s, past, current[t, m, begin : begin + n], d_spike, d_x, levels)
                else:
                    _fill(d_x, _ZERO)
            _to_raw(s, raw[0, m, begin : begin + n], d_raw[0, m, begin : begin + n])
            for i in range(len(d_start)):
                _copy(s[_DV + i * _N : _DV + i * _N + n], d_start[i, m, begin : begin + n])
        for i in range(4):
            _copy(s[_DA + i * _N : _DA + i * _N + n], d_constants[i, 0, begin : begin + n])


@_inlined
def _carry(s: Any, past: Any, current: Any, levels: Any) -> None:
    """Store the state after a step behind the one before it."""
    for j in range(len(current)):
        v, z, q = past[j], past[_N + j], past[2 * _N + j]
        a, b, r, k = s[_A + j], s[_B + j], s[_R + j], s[_K + j]
        v, z, q, _ = _step(a, b, r, k, v, z, q, current[j], s[_BASE + j], levels)
        past[3 * _N + j], past[4 * _N + j], past[5 * _N + j] = v, z, q


@_inlined
def _go_back(s: Any, past: Any, current: Any, d_spikes: Any, d_current: Any, levels: Any) -> None:
    """Propagate the state gradients back over a step and accumulate those of the constants."""
    for j in range(len(current)):
        a, b, r, k = s[_A + j], s[_B + j], s[_R + j], s[_K + j]
        v, z, q = past[j], past[_N + j], past[2 * _N + j]
        dv, dz, dq = s[_DV + j], s[_DZ + j], s[_DQ + j]
        threshold = s[_BASE + j] + b * z
        narrowing = _ONE / max(threshold, _LEAST_WIDTH)
        u, count, slope, slope_of_threshold = a * v + current[j], _ZERO, _ZERO, _ZERO
        for level in range(1, MAX_LEVELS + 1):
            d = np.float32(level)
            distance = u - d * threshold
            counts = level <= levels
            count += _ONE if counts and distance >= _ZERO else _ZERO
            of_level = max(_ONE - abs(distance) * narrowing, _ZERO) * (narrowing if counts else _ZERO)
            slope += of_level
            slope_of_threshold += d * of_level
        rate = count / np.float32(levels)
        d_count = d_spikes[j] - dv * threshold + (dz * (_ONE - r) + dq * (_ONE - k)) / np.float32(levels)
        du = dv + d_count * slope
        d_threshold = -dv * count - d_count * slope_of_threshold
        d_current[j] = du
        s[_DA + j] += du * v
        s[_DB + j] += d_threshold * z
        s[_DR + j] += dz * (z - rate)
        s[_DK + j] += dq * (q - rate)
        s[_DBASE + j] += d_threshold
        s[_DV + j] = a * du
        s[_DZ + j] = r * dz + b * d_threshold
        s[_DQ + j] = k * dq
