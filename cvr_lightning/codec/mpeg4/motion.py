"""Decoding and prediction of motion vectors (ISO/IEC 14496-2, 7.6.3 and 7.6.5)."""

from __future__ import annotations

from cvr_lightning.codec.bitstream.kernels import subroutine
from cvr_lightning.codec.mpeg4.bitstream import BAD_VECTOR, fault, inlined, window
from cvr_lightning.codec.mpeg4.tables import MVD


@inlined
def read_component(words, position, predictor, code):  # type: ignore[no-untyped-def]
    """Read one component of a vector: position, value.

    Args:
        words: The VOP.
        position: Bit position of the difference.
        predictor: Predicted value, to which the difference is added.
        code: vop_fcode; the sum wraps around in a range of 32 << code half or quarter samples.
    """
    bits = window(words, position)
    entry = MVD[bits >> 20]
    if entry == 0:
        return fault(BAD_VECTOR, position), 0
    length, value = entry & 15, entry >> 4
    if value == 0:
        return position + length, predictor
    negative = bits >> (31 - length) & 1
    position += length + 1
    rest = code - 1
    if rest:
        value = ((value - 1) << rest) + (window(words, position) >> (32 - rest)) + 1
        position += rest
    value = predictor - value if negative else predictor + value
    half = 16 << code
    return position, ((value + half) & (2 * half - 1)) - half


@inlined
def read_vector(words, position, x, y, code):  # type: ignore[no-untyped-def]
    """Read a vector with predictor (x, y): position, x, y."""
    position, x = read_component(words, position, x, code)
    if position < 0:
        return position, 0, 0
    position, y = read_component(words, position, y, code)
    return position, x, y


@subroutine
def _median(a, b, c):  # type: ignore[no-untyped-def]
    return max(min(a, b), min(max(a, b), c))


@inlined
def predict_vector(motion, mb_y, mb_x, n, start):  # type: ignore[no-untyped-def]
    """Predict the vector of a block from its left, top and top-right neighbors.

    Neighbors beyond the left and right edges are zero vectors. Neighbors in another video packet or above the
    VOP are unavailable; if only the left one is available, it is the prediction.

    Args:
        motion: (2 M, 2 N, 2) vectors (x, y) decoded so far.
        mb_y: Row of the macroblock.
        mb_x: Column of the macroblock.
        n: Number of the block in the macroblock.
        start: Number of the first macroblock of the video packet.
    """
    columns = motion.shape[1] >> 1
    macroblock = mb_y * columns + mb_x
    y, x = 2 * mb_y + (n >> 1), 2 * mb_x + (n & 1)
    ax = ay = bx = by = cx = cy = 0
    if n & 1 or (mb_x > 0 and macroblock - 1 >= start):
        ax, ay = int(motion[y, x - 1, 0]), int(motion[y, x - 1, 1])
    if n >= 2:
        bx, by = int(motion[y - 1, x, 0]), int(motion[y - 1, x, 1])
        side = 1 if n == 2 else -1
        cx, cy = int(motion[y - 1, x + side, 0]), int(motion[y - 1, x + side, 1])
        return _median(ax, bx, cx), _median(ay, by, cy)
    above = macroblock - columns
    right = 2 * mb_x + 2
    if above + 1 < start or (above < start and mb_x + 1 == columns):
        return ax, ay
    if right < 2 * columns:
        cx, cy = int(motion[y - 1, right, 0]), int(motion[y - 1, right, 1])
    if above >= start:
        bx, by = int(motion[y - 1, x, 0]), int(motion[y - 1, x, 1])
    elif n == 0 and mb_x == 0:
        return cx, cy
    return _median(ax, bx, cx), _median(ay, by, cy)
