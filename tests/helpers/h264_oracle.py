"""H.264 pictures rebuilt from what the parser says, and what FFmpeg says of the same pictures.

With ``skip_loop_filter=all`` FFmpeg deblocks no picture. References and the samples around an intra block are
taken from FFmpeg's pictures, so each macroblock is checked by itself: prediction and inverse transforms are
repeated here.
"""

from __future__ import annotations

from typing import Any

import av
import numba
import numpy as np
import numpy.typing as npt
from av.codec.context import Flags2
from av.video.frame import PictureType, VideoFrame

from cvr_lightning.codec import CompressedVideoReader
from cvr_lightning.codec.bitstream.kernels import word_buffer
from cvr_lightning.codec.h264.macroblocks import Macroblocks
from cvr_lightning.codec.h264.nal import next_unit
from cvr_lightning.codec.h264.parameters import read_pair, read_sets
from cvr_lightning.codec.h264.parser import H264Parser
from cvr_lightning.codec.h264.pictures import read_slice_start
from cvr_lightning.codec.h264.slice_header import (
    H_CHROMA_SHIFT,
    H_LUMA_SHIFT,
    H_PICTURE_SET,
    H_TYPE,
    H_WEIGHTED,
    Q_BIPREDICTED,
    B,
    header_buffers,
)
from cvr_lightning.codec.h264.slice_lists import SliceLists

Planes = tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8], npt.NDArray[np.uint8]]


@numba.njit(cache=True, inline="always")
def _taps(a, b, c, d, e, f):
    return a - 5 * b + 20 * c + 20 * d - 5 * e + f


@numba.njit(cache=True, inline="always")
def _clip(value):
    return min(max(value, 0), 255)


@numba.njit(cache=True)
def _half(s, y, x, across, down):
    """The sample at (y, x), half a sample further to the right or down as asked (8.4.2.2.1)."""
    if across and down:
        total = np.int64(0)
        for k in range(6):
            r = y + k - 2
            row = _taps(s[r, x - 2], s[r, x - 1], s[r, x], s[r, x + 1], s[r, x + 2], s[r, x + 3])
            total += row * (1 if k in (0, 5) else (-5 if k in (1, 4) else 20))
        return _clip((total + 512) >> 10)
    if across:
        row = _taps(s[y, x - 2], s[y, x - 1], s[y, x], s[y, x + 1], s[y, x + 2], s[y, x + 3])
        return _clip((row + 16) >> 5)
    if down:
        column = _taps(s[y - 2, x], s[y - 1, x], s[y, x], s[y + 1, x], s[y + 2, x], s[y + 3, x])
        return _clip((column + 16) >> 5)
    return s[y, x]


@numba.njit(cache=True)
def _luma(s, y, x, fx, fy):
    """The sample at quarter position (fx, fy) of Figure 8-4: a half sample, or the mean of two neighbors."""
    if fx % 2 == 0 and fy % 2 == 0:
        return _half(s, y, x, fx == 2, fy == 2)
    if fx % 2 and fy % 2:  # e, g, p, r: between a horizontal and a vertical half sample
        return (_half(s, y + fy // 2, x, True, False) + _half(s, y, x + fx // 2, False, True) + 1) >> 1
    if fx % 2:  # a, c, i, k
        down = fy == 2
        return (_half(s, y, x + fx // 2, False, down) + _half(s, y, x, True, down) + 1) >> 1
    across = fx == 2  # d, n, f, q
    return (_half(s, y + fy // 2, x, across, False) + _half(s, y, x, across, True) + 1) >> 1


@numba.njit(cache=True)
def _fetch(plane, top, left, side, out):
    height, width = plane.shape
    for y in range(side):
        for x in range(side):
            out[y, x] = plane[min(max(top + y, 0), height - 1), min(max(left + x, 0), width - 1)]


@numba.njit(cache=True)
def predict_luma(plane, top, left, mx, my, samples, out):
    """Predict a 4x4 luma block (8.4.2.2.1)."""
    _fetch(plane, top + (my >> 2) - 2, left + (mx >> 2) - 2, 10, samples)
    for y in range(4):
        for x in range(4):
            out[y, x] = _luma(samples, y + 2, x + 2, mx & 3, my & 3)


@numba.njit(cache=True)
def predict_chroma(plane, top, left, mx, my, samples, out):
    """Predict a 2x2 chroma block, bilinear in eighths (8.4.2.2.2)."""
    _fetch(plane, top + (my >> 3), left + (mx >> 3), 3, samples)
    fx, fy = mx & 7, my & 7
    for y in range(2):
        for x in range(2):
            above = (8 - fx) * samples[y, x] + fx * samples[y, x + 1]
            below = (8 - fx) * samples[y + 1, x] + fx * samples[y + 1, x + 1]
            out[y, x] = ((8 - fy) * above + fy * below + 32) >> 6


@numba.njit(cache=True)
def weigh(a, b, uses, mode, shift, w0, o0, w1, o1):
    """Combine predictions (8.4.2.3); mode 0 is plain, 1 explicit, 2 implicit."""
    if uses == 3:
        if mode == 0:
            return (a + b + 1) >> 1
        return _clip(((a * w0 + b * w1 + (1 << shift)) >> (shift + 1)) + ((o0 + o1 + 1) >> 1))
    value, w, o = (a, w0, o0) if uses == 1 else (b, w1, o1)
    if mode != 1:
        return value
    if shift >= 1:
        return _clip(((value * w + (1 << (shift - 1))) >> shift) + o)
    return _clip(value * w + o)


@numba.njit(cache=True)
def _directional(mode, side, p, out):
    """The six directional modes of 4x4 (8.3.1.2) and 8x8 blocks (8.3.2.2).

    p holds the samples to the left from below, the corner at ``side``, and those above: 3 x side + 1.
    """
    for y in range(side):
        for x in range(side):
            if mode == 3:
                k = side + 1 + x + y
                if x == side - 1 and y == side - 1:
                    out[y, x] = (p[k] + 3 * p[k + 1] + 2) >> 2
                else:
                    out[y, x] = (p[k] + 2 * p[k + 1] + p[k + 2] + 2) >> 2
            elif mode == 4:
                k = side + x - y
                out[y, x] = (p[k - 1] + 2 * p[k] + p[k + 1] + 2) >> 2
            elif mode == 5:
                z = 2 * x - y
                k = side + 1 + x - (y >> 1)
                if z >= 0 and z % 2 == 0:
                    out[y, x] = (p[k - 1] + p[k] + 1) >> 1
                elif z >= 0:
                    out[y, x] = (p[k - 2] + 2 * p[k - 1] + p[k] + 2) >> 2
                elif z == -1:
                    out[y, x] = (p[side - 1] + 2 * p[side] + p[side + 1] + 2) >> 2
                else:
                    k = side + 1 + z
                    out[y, x] = (p[k - 1] + 2 * p[k] + p[k + 1] + 2) >> 2
            elif mode == 6:
                z = 2 * y - x
                k = side - y + (x >> 1)
                if z >= 0 and z % 2 == 0:
                    out[y, x] = (p[k] + p[k - 1] + 1) >> 1
                elif z >= 0:
                    out[y, x] = (p[k - 1] + 2 * p[k] + p[k + 1] + 2) >> 2
                elif z == -1:
                    out[y, x] = (p[side - 1] + 2 * p[side] + p[side + 1] + 2) >> 2
                else:
                    k = side - 1 - z
                    out[y, x] = (p[k + 1] + 2 * p[k] + p[k - 1] + 2) >> 2
            elif mode == 7:
                k = side + 1 + x + (y >> 1)
                if y % 2 == 0:
                    out[y, x] = (p[k] + p[k + 1] + 1) >> 1
                else:
                    out[y, x] = (p[k] + 2 * p[k + 1] + p[k + 2] + 2) >> 2
            else:
                z = x + 2 * y
                k = side - 1 - y - (x >> 1)
                if z > 2 * side - 3:
                    out[y, x] = p[0]
                elif z == 2 * side - 3:
                    out[y, x] = (p[1] + 3 * p[0] + 2) >> 2
                elif z % 2 == 0:
                    out[y, x] = (p[k] + p[k - 1] + 1) >> 1
                else:
                    out[y, x] = (p[k] + 2 * p[k - 1] + p[k - 2] + 2) >> 2


@numba.njit(cache=True)
def _flat(mode, side, p, left, above, out):
    """Vertical (0), horizontal (1) and DC (2) of a block with ``side`` samples a side."""
    corner = side
    total, count = 0, 0
    for k in range(side):
        if left:
            total += p[k]
        if above:
            total += p[corner + 1 + k]
    count = side * (left + above)
    mean = (total + (count >> 1)) // count if count else 128
    for y in range(side):
        for x in range(side):
            out[y, x] = p[corner + 1 + x] if mode == 0 else (p[corner - 1 - y] if mode == 1 else mean)


@numba.njit(cache=True)
def _border(plane, top, left, side, has_left, has_above, has_corner, has_right, p):
    """Samples around a block: side to the left from below, the corner, twice side above."""
    for k in range(side):
        p[side - 1 - k] = plane[top + k, left - 1] if has_left else 0
    p[side] = plane[top - 1, left - 1] if has_corner else 0
    for k in range(2 * side):
        if not has_above:
            p[side + 1 + k] = 0
        elif k < side or has_right:
            p[side + 1 + k] = plane[top - 1, left + k]
        else:
            p[side + 1 + k] = plane[top - 1, left + side - 1]


@numba.njit(cache=True)
def _smooth(p, left, above, corner, q):
    """Reference sample filtering of 8x8 blocks (8.3.2.2.1)."""
    for k in range(25):
        q[k] = p[k]
    if above:
        for k in range(1, 15):
            q[9 + k] = (p[8 + k] + 2 * p[9 + k] + p[10 + k] + 2) >> 2
        q[9] = (p[8] + 2 * p[9] + p[10] + 2) >> 2 if corner else (3 * p[9] + p[10] + 2) >> 2
        q[24] = (p[23] + 3 * p[24] + 2) >> 2
    if corner:
        if left and above:
            q[8] = (p[7] + 2 * p[8] + p[9] + 2) >> 2
        elif above:
            q[8] = (3 * p[8] + p[9] + 2) >> 2
        elif left:
            q[8] = (3 * p[8] + p[7] + 2) >> 2
    if left:
        for k in range(1, 7):
            q[k] = (p[k - 1] + 2 * p[k] + p[k + 1] + 2) >> 2
        q[7] = (p[8] + 2 * p[7] + p[6] + 2) >> 2 if corner else (3 * p[7] + p[6] + 2) >> 2
        q[0] = (p[1] + 3 * p[0] + 2) >> 2


@numba.njit(cache=True)
def _plane(plane, top, left, side, out):
    """Plane prediction of 16x16 luma and 8x8 chroma (8.3.3.4, 8.3.4.4)."""
    h = v = 0
    half = side >> 1
    for k in range(1, half + 1):
        h += k * (np.int64(plane[top - 1, left + half - 1 + k]) - plane[top - 1, left + half - 1 - k])
        v += k * (np.int64(plane[top + half - 1 + k, left - 1]) - plane[top + half - 1 - k, left - 1])
    a = 16 * (np.int64(plane[top + side - 1, left - 1]) + plane[top - 1, left + side - 1])
    if side == 16:
        b, c = (5 * h + 32) >> 6, (5 * v + 32) >> 6
    else:
        b, c = (34 * h + 32) >> 6, (34 * v + 32) >> 6
    for y in range(side):
        for x in range(side):
            out[y, x] = _clip((a + b * (x - half + 1) + c * (y - half + 1) + 16) >> 5)


@numba.njit(cache=True)
def _chroma_dc(plane, top, left, has_left, has_above, out):
    """DC prediction of the four 4x4 blocks of a chroma plane (8.3.4.3)."""
    for j in range(2):
        for i in range(2):
            above = left_sum = 0
            for k in range(4):
                if has_above:
                    above += plane[top - 1, left + 4 * i + k]
                if has_left:
                    left_sum += plane[top + 4 * j + k, left - 1]
            if has_left and has_above and i == j:
                value = (above + left_sum + 4) >> 3
            elif has_above and (i > j or not has_left or (i == j)):
                value = (above + 2) >> 2
            elif has_left:
                value = (left_sum + 2) >> 2
            elif has_above:
                value = (above + 2) >> 2
            else:
                value = 128
            if i < j and has_left:
                value = (left_sum + 2) >> 2
            for y in range(4):
                for x in range(4):
                    out[4 * j + y, 4 * i + x] = value


@numba.njit(cache=True)
def inverse_4(d, out):
    """The 4x4 inverse transform (8.5.12.2), before rounding."""
    t = np.empty((4, 4), np.int64)
    for i in range(4):
        a, b = d[4 * i] + d[4 * i + 2], d[4 * i] - d[4 * i + 2]
        e, f = (d[4 * i + 1] >> 1) - d[4 * i + 3], d[4 * i + 1] + (d[4 * i + 3] >> 1)
        t[i, 0], t[i, 1], t[i, 2], t[i, 3] = a + f, b + e, b - e, a - f
    for i in range(4):
        a, b = t[0, i] + t[2, i], t[0, i] - t[2, i]
        e, f = (t[1, i] >> 1) - t[3, i], t[1, i] + (t[3, i] >> 1)
        out[0, i], out[1, i], out[2, i], out[3, i] = a + f, b + e, b - e, a - f


@numba.njit(cache=True)
def _inverse_8_line(d, o, s):
    a0, a2 = d[o] + d[o + 4 * s], d[o] - d[o + 4 * s]
    a4, a6 = (d[o + 2 * s] >> 1) - d[o + 6 * s], d[o + 2 * s] + (d[o + 6 * s] >> 1)
    b0, b2, b4, b6 = a0 + a6, a2 + a4, a2 - a4, a0 - a6
    d1, d3, d5, d7 = d[o + s], d[o + 3 * s], d[o + 5 * s], d[o + 7 * s]
    a1 = -d3 + d5 - d7 - (d7 >> 1)
    a3 = d1 + d7 - d3 - (d3 >> 1)
    a5 = -d1 + d7 + d5 + (d5 >> 1)
    a7 = d3 + d5 + d1 + (d1 >> 1)
    b1, b7 = a1 + (a7 >> 2), a7 - (a1 >> 2)
    b3, b5 = a3 + (a5 >> 2), (a3 >> 2) - a5
    d[o], d[o + s], d[o + 2 * s], d[o + 3 * s] = b0 + b7, b2 + b5, b4 + b3, b6 + b1
    d[o + 4 * s], d[o + 5 * s], d[o + 6 * s], d[o + 7 * s] = b6 - b1, b4 - b3, b2 - b5, b0 - b7


@numba.njit(cache=True)
def inverse_8(d, out):
    """The 8x8 inverse transform (8.5.13.2), before rounding."""
    for i in range(8):
        _inverse_8_line(d, 8 * i, 1)
    for i in range(8):
        _inverse_8_line(d, i, 8)
    for k in range(64):
        out[k >> 3, k & 7] = d[k]


@numba.njit(cache=True)
def _add(d, first, side, prediction, plane, top, left):
    """Add the residual of a block to its prediction; returns whether it differs from the plane."""
    block = np.zeros(64, np.int64)
    residual = np.zeros((8, 8), np.int64)
    for k in range(side * side):
        block[k] = d[first + k]
    if side == 4:
        inverse_4(block, residual)
    else:
        inverse_8(block, residual)
    for y in range(side):
        for x in range(side):
            if _clip(prediction[y, x] + ((residual[y, x] + 32) >> 6)) != plane[top + y, left + x]:
                return True
    return False


@numba.njit(cache=True)
def _intra_luma(n, columns, p, plane, near, d):
    """Whether the luma of an intra macroblock differs; near: left, above, right, corner may be used."""
    kinds, modes, modes16 = p
    my, mx = n // columns, n % columns
    left, above, right, corner = near
    border, smooth = np.zeros(32, np.int64), np.zeros(32, np.int64)
    out = np.zeros((16, 16), np.int64)
    wrong = False
    if kinds[n] == 8:
        top, start = 16 * my, 16 * mx
        mode = modes16[n]
        if mode == 3:
            _plane(plane, top, start, 16, out)
        else:
            wide = np.zeros(64, np.int64)
            _border(plane, top, start, 16, left, above, False, False, wide)
            _flat(mode, 16, wide, left, above, out)
        for b in range(16):
            j = (b >> 3) * 2 + (b >> 1 & 1)
            i = (b >> 2 & 1) * 2 + (b & 1)
            wrong |= _add(
                d, 16 * b, 4, out[4 * j : 4 * j + 4, 4 * i : 4 * i + 4], plane, top + 4 * j, start + 4 * i
            )
        return wrong
    side = 8 if kinds[n] == 7 else 4
    unit = side // 4
    for b in range(0, 16, unit * unit):
        j = (b >> 3) * 2 + (b >> 1 & 1)
        i = (b >> 2 & 1) * 2 + (b & 1)
        top, start = 16 * my + 4 * j, 16 * mx + 4 * i
        has_left, has_above = left or i > 0, above or j > 0
        has_corner = (corner if i == 0 else above) if j == 0 else (left if i == 0 else True)
        k = i + unit
        if j == 0:
            has_right = above if k < 4 else right
        elif k > 3:
            has_right = False
        else:
            order = ((j - 1) >> 1) * 8 + (k >> 1) * 4 + ((j - 1) & 1) * 2 + (k & 1)
            has_right = order < b
        mode = modes[n, 4 * j + i]
        _border(plane, top, start, side, has_left, has_above, has_corner, has_right, border)
        if side == 8:
            _smooth(border, has_left, has_above, has_corner, smooth)
            source = smooth
        else:
            source = border
        if mode < 3:
            _flat(mode, side, source, has_left, has_above, out)
        else:
            _directional(mode, side, source, out)
        wrong |= _add(d, 16 * b, side, out, plane, top, start)
    return wrong


@numba.njit(cache=True)
def _intra_chroma(mode, my, mx, plane, near, d, first):
    left, above, _, _ = near
    top, start = 8 * my, 8 * mx
    out = np.zeros((8, 8), np.int64)
    border = np.zeros(32, np.int64)
    if mode == 0:
        _chroma_dc(plane, top, start, left, above, out)
    elif mode == 3:
        _plane(plane, top, start, 8, out)
    else:
        _border(plane, top, start, 8, left, above, False, False, border)
        _flat(1 if mode == 1 else 0, 8, border, left, above, out)
    wrong = False
    for b in range(4):
        y, x = 4 * (b >> 1), 4 * (b & 1)
        wrong |= _add(d, first + 16 * b, 4, out[y : y + 4, x : x + 4], plane, top + y, start + x)
    return wrong


@numba.njit(cache=True)
def _inter(n, columns, transform, motion, indices, slots, weights, planes, references, d):
    """Whether an inter macroblock differs, in luma or chroma."""
    modes, shifts, explicit, implicit = weights
    my, mx = n // columns, n % columns
    samples = np.zeros((10, 10), np.int64)
    sides = np.zeros((2, 4, 4), np.int64)
    luma, chroma = np.zeros((16, 16), np.int64), np.zeros((2, 8, 8), np.int64)
    for j in range(4):
        for i in range(4):
            y, x = 4 * my + j, 4 * mx + i
            pair = (indices[0, y >> 1, x >> 1], indices[1, y >> 1, x >> 1])
            uses = (pair[0] >= 0) + 2 * (pair[1] >= 0)
            for plane in range(3):
                if plane and planes[1].size == 0:
                    continue
                side = 2 if plane else 4
                for which in range(2):
                    if pair[which] < 0:
                        continue
                    slot = slots[which, y >> 1, x >> 1]
                    vx, vy = motion[which, y, x]
                    source = references[plane][slot]
                    if plane:
                        predict_chroma(
                            source, 2 * y, 2 * x, np.int64(vx), np.int64(vy), samples, sides[which]
                        )
                    else:
                        predict_luma(source, 4 * y, 4 * x, np.int64(vx), np.int64(vy), samples, sides[which])
                w0 = w1 = 32
                o0 = o1 = 0
                shift = 5
                if modes == 1:
                    shift = shifts[1 if plane else 0]
                    w0, o0 = explicit[0, max(pair[0], 0), plane]
                    w1, o1 = explicit[1, max(pair[1], 0), plane]
                elif modes == 2 and uses == 3:
                    w1 = implicit[pair[0], pair[1]]
                    w0 = 64 - w1
                for v in range(side):
                    for u in range(side):
                        value = weigh(sides[0, v, u], sides[1, v, u], uses, modes, shift, w0, o0, w1, o1)
                        if plane:
                            chroma[plane - 1, 2 * j + v, 2 * i + u] = value
                        else:
                            luma[4 * j + v, 4 * i + u] = value
    wrong = False
    side = 8 if transform else 4
    for b in range(0, 16, 4 if transform else 1):
        j = (b >> 3) * 2 + (b >> 1 & 1)
        i = (b >> 2 & 1) * 2 + (b & 1)
        wrong |= _add(d, 16 * b, side, luma[4 * j :, 4 * i :], planes[0], 16 * my + 4 * j, 16 * mx + 4 * i)
    if planes[1].size:
        for c in range(2):
            for b in range(4):
                y, x = 4 * (b >> 1), 4 * (b & 1)
                block = chroma[c, y:, x:]
                wrong |= _add(d, 256 + 64 * c + 16 * b, 4, block, planes[1 + c], 8 * my + y, 8 * mx + x)
    return wrong


@numba.njit(cache=True)
def _pcm(n, columns, planes, d):
    my, mx = n // columns, n % columns
    for k in range(256):
        y, x = 8 * (k >> 7) + (k >> 3 & 7), 8 * (k >> 6 & 1) + (k & 7)
        if planes[0][16 * my + y, 16 * mx + x] != d[k]:
            return True
    if planes[1].size:
        for k in range(64):
            for c in range(2):
                if planes[1 + c][8 * my + (k >> 3), 8 * mx + (k & 7)] != d[256 + 64 * c + k]:
                    return True
    return False


@numba.njit(cache=True)
def wrong_macroblocks(
    columns, constrained, slices, kinds, transform, modes, modes16, chroma_modes, coefficients, motion,
    indices, slots, weights, planes, references, out,
):  # fmt: skip
    """Mark the macroblocks whose rebuilt samples are not those of the planes."""
    for n in range(len(kinds)):
        my, mx = n // columns, n % columns
        d = coefficients[n]
        if kinds[n] == 9:
            out[n] = _pcm(n, columns, planes, d)
        elif kinds[n] < 6:
            s = slices[n]
            chosen = (weights[0][s], weights[1][s], weights[2][s], weights[3][s])
            out[n] = _inter(n, columns, transform[n], motion, indices, slots, chosen, planes, references, d)
        else:
            near = np.zeros(4, np.bool_)
            for k in range(4):
                y, x = my - (k > 0), mx - (k in (0, 3)) + (k == 2)
                if y < 0 or x < 0 or x >= columns:
                    continue
                m = y * columns + x
                near[k] = slices[m] == slices[n] and m < n and (not constrained or kinds[m] >= 6)
            flags = (near[0], near[1], near[2], near[3])
            wrong = _intra_luma(n, columns, (kinds, modes, modes16), planes[0], flags, d)
            if planes[1].size:
                for c in range(2):
                    wrong |= _intra_chroma(chroma_modes[n], my, mx, planes[1 + c], flags, d, 256 + 64 * c)
            out[n] = wrong


def decode(path: str, frames: int) -> list[VideoFrame]:
    """The first frames in display order: whole coded pictures, not deblocked, with FFmpeg's side data."""
    out = []
    with av.open(path, metadata_errors="replace") as container:
        stream = container.streams.video[0]
        context = stream.codec_context
        context.thread_count = 1
        context.flags2 |= Flags2.export_mvs
        context.options = {
            "skip_loop_filter": "all",
            "apply_cropping": "0",
            "export_side_data": "venc_params",
        }
        for frame in container.decode(stream):
            out.append(frame)
            if len(out) == frames:
                break
    return out


def planes_of(frame: VideoFrame) -> Planes:
    """Y, Cb, Cr; the latter empty in monochrome."""
    y, *chroma = (
        np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, -1)[:, : plane.width].copy()
        for plane in frame.planes
    )
    none = np.zeros((0, 0), np.uint8)
    if frame.format.name.startswith("gray"):
        return y, none, none
    return y, chroma[0], chroma[1]


def weights_of(video: CompressedVideoReader, frame: int) -> tuple[npt.NDArray[Any], ...]:
    """Of each slice: 1 if weights are explicit, 2 if implicit; shifts; explicit and implicit weights."""
    parser = video._parser
    assert isinstance(parser, H264Parser)
    stream, coded = parser._stream, parser._coded(frame)
    data, buffers = np.frombuffer(coded.data, np.uint8), header_buffers()
    scratch = np.empty(4096, np.uint8), word_buffer(4096)
    headers, weights, modes, position = [], [], [], 0
    while True:
        begin, end, position = next_unit(data, position, len(data), stream.prefix)
        if begin < 0:
            break
        if data[begin] & 31 in (1, 5):
            read_slice_start(data, begin, end, stream.rows, stream.places[coded.context], buffers, *scratch)
            header = buffers[0].copy()
            q = stream.rows[stream.places[coded.context][header[H_PICTURE_SET]]]
            modes.append(2 if header[H_TYPE] == B and q[Q_BIPREDICTED] == 2 else header[H_WEIGHTED])
            headers.append(header)
            weights.append(buffers[3].copy())
    table = np.stack(headers)
    implicit = np.stack([implicit_weights(lists) for lists in coded.lists])
    return np.array(modes), table[:, [H_LUMA_SHIFT, H_CHROMA_SHIFT]], np.stack(weights), implicit


def implicit_weights(lists: SliceLists) -> npt.NDArray[np.int64]:
    """(32, 32) implicit weights of list 1 for each pair of references (8.4.2.3.1)."""
    out = np.full((32, 32), 32, np.int64)
    for i in range(lists.counts[0]):
        for j in range(lists.counts[1]):
            near, far = int(lists.orders[0, i]), int(lists.orders[1, j])
            span = max(-128, min(127, near - far))
            if lists.long_term[0, i] or lists.long_term[1, j] or near == far:
                continue
            tx = int((16384 + abs(span) // 2) / span)
            scale = max(-1024, min(1023, (max(-128, min(127, near)) * tx + 32) >> 6))
            if -64 <= scale >> 2 <= 128:
                out[i, j] = scale >> 2
    return out


def _wrong_samples(
    video: CompressedVideoReader, n: int, parsed: Macroblocks, planes: dict[int, Planes]
) -> int:
    rows, columns = parsed.kinds.shape
    used = np.unique(parsed.references[parsed.references >= 0])
    stacks = tuple(
        np.stack([planes[int(r)][k] for r in used]) if len(used) else np.zeros((0, 1, 1), np.uint8)
        for k in range(3)
    )
    header = video.index.sequence_headers[video.index.frame_headers[n]]
    constrained = any(read_pair(*pair)[1].constrained for pair in read_sets(header).pairs)
    wrong = np.zeros(rows * columns, bool)
    wrong_macroblocks(
        columns, constrained, parsed.slices.ravel(), parsed.kinds.ravel(), parsed.transform_8x8.ravel(),
        parsed.modes_4x4.reshape(-1, 16), parsed.modes_16x16.ravel(), parsed.modes_chroma.ravel(),
        parsed.coefficients.reshape(-1, 384), parsed.motion, parsed.indices,
        np.searchsorted(used, parsed.references), weights_of(video, n), planes[n], stacks, wrong,
    )  # fmt: skip
    return int(wrong.sum())


def _wrong_vectors(parsed: Macroblocks, frame: VideoFrame) -> tuple[int, int]:
    """Exported vectors that differ, and how many there are."""
    data = frame.side_data.get("MOTION_VECTORS")
    if data is None:
        return 0, 0
    exported = data.to_ndarray()
    height, width = parsed.motion.shape[1:3]
    x = (exported["dst_x"] - exported["w"].astype(int) // 2) // 4
    y = (exported["dst_y"] - exported["h"].astype(int) // 2) // 4
    inside = (x >= 0) & (y >= 0) & (x < width) & (y < height)
    which = (exported["source"] > 0).astype(int)[inside]
    ours = parsed.motion[which, y[inside], x[inside]]
    theirs = np.stack([exported["motion_x"], exported["motion_y"]], 1)[inside]
    return int((ours != theirs).any(1).sum()), len(ours)


def compare(path: str, frames: int = 60) -> dict[str, int]:
    """Compare the parser with FFmpeg.

    Returns:
        frames compared; macroblocks, vectors: their number; wrong_types, wrong_vectors, wrong_quantizers:
        that differ;
        wrong_samples: macroblocks whose rebuilt samples differ.
    """
    names = (
        "frames",
        "I",
        "P",
        "B",
        "macroblocks",
        "vectors",
        "wrong_types",
        "wrong_vectors",
        "wrong_quantizers",
        "wrong_samples",
    )
    out = dict.fromkeys(names, 0)
    decoded = decode(path, frames)
    planes = {n: planes_of(frame) for n, frame in enumerate(decoded)}
    with CompressedVideoReader(path, parser="h264") as video:
        for n, frame in enumerate(decoded):
            kind = video.index.frame_types[n]
            out["wrong_types"] += PictureType(frame.pict_type).name != kind
            parsed = video.parse(n)
            assert isinstance(parsed, Macroblocks)
            if parsed.references.max(initial=-1) >= len(decoded):
                continue
            out["frames"] += 1
            out[kind] += 1
            out["macroblocks"] += parsed.kinds.size
            out["wrong_samples"] += _wrong_samples(video, n, parsed, planes)
            wrong, count = _wrong_vectors(parsed, frame)
            out["wrong_vectors"] += wrong
            out["vectors"] += count
            quantizers = frame.side_data.get("VIDEO_ENC_PARAMS")
            if quantizers is not None and hasattr(quantizers, "qp_map"):
                theirs = quantizers.qp_map().reshape(parsed.quantizer.shape)
                out["wrong_quantizers"] += int((theirs != parsed.quantizer).sum())
    return out
