"""References and vectors of CAVLC slices (ITU-T H.264, 7.3.5.1 and 7.3.5.2)."""

from __future__ import annotations

import numpy as np

from cvr_lightning.codec.bitstream.kernels import fault, read_bits, read_signed, read_unsigned, subroutine
from cvr_lightning.codec.h264.faults import BAD_REFERENCE
from cvr_lightning.codec.h264.motion import (
    fill_reference,
    fill_vector,
    predict,
    predict_half,
    predict_in_quarter,
)
from cvr_lightning.codec.h264.state import S_REFERENCES_0, S_X, S_Y


@subroutine
def _read_reference(picture, position, which):  # type: ignore[no-untyped-def]
    """Read ref_idx, te(v): position, index."""
    count = picture.slice[S_REFERENCES_0 + which]
    if count == 1:
        return position, np.int64(0)
    if count == 2:
        return position + 1, 1 - read_bits(picture.words, position, 1)
    position, index = read_unsigned(picture.words, position)
    if index >= count:
        return fault(BAD_REFERENCE, position), np.int64(0)
    return position, index


@subroutine
def _read_vector(picture, position, which, j, i, height, width, x, y):  # type: ignore[no-untyped-def]
    """Read a vector difference and set the vector, which ``x`` and ``y`` predict."""
    position, dx = read_signed(picture.words, position)
    position, dy = read_signed(picture.words, position)
    fill_vector(picture, which, j, i, height, width, x + dx, y + dy)
    return position


@subroutine
def read_partitions(picture, position, shape, uses):  # type: ignore[no-untyped-def]
    """Read references and vectors of one or two partitions.

    Args:
        picture: The picture.
        position: Where they begin.
        shape: 0 is 16x16, 1 16x8, 2 8x16.
        uses: The lists that they use, two bits each.
    """
    s = picture.slice
    parts = 2 if shape else 1
    height, width = 2 if shape == 1 else 4, 2 if shape == 2 else 4
    for which in range(2):
        for part in range(parts):
            if uses >> (2 * part + which) & 1:
                position, index = _read_reference(picture, position, which)
                if position < 0:
                    return position
                j, i = part * (shape == 1), part * (shape == 2)
                fill_reference(picture, which, j, i, height >> 1, width >> 1, index)
    for which in range(2):
        for part in range(parts):
            if uses >> (2 * part + which) & 1:
                j, i = part * (shape == 1), part * (shape == 2)
                index = np.int64(picture.references[which, 2 * s[S_Y] + j, 2 * s[S_X] + i])
                if shape:
                    x, y = predict_half(picture, which, shape, part, index)
                else:
                    x, y = predict(picture, which, 0, 0, 4, index)
                position = _read_vector(picture, position, which, 2 * j, 2 * i, height, width, x, y)
    return position


@subroutine
def read_quarter_motion(picture, position, splits, uses, first_reference):  # type: ignore[no-untyped-def]
    """Read references and vectors of four quarters.

    Args:
        picture: The picture.
        position: Where they begin.
        splits: How they are split, two bits each.
        uses: The lists that they use, two bits each; none in direct prediction.
        first_reference: All ref_idx are 0 and not coded.
    """
    for which in range(2):
        for n in range(4):
            if uses >> (2 * n + which) & 1:
                index = np.int64(0)
                if not first_reference:
                    position, index = _read_reference(picture, position, which)
                    if position < 0:
                        return position
                fill_reference(picture, which, n >> 1, n & 1, 1, 1, index)
    for which in range(2):
        for n in range(4):
            if uses >> (2 * n + which) & 1:
                split = splits >> (2 * n) & 3
                height, width = 1 if split & 1 else 2, 1 if split & 2 else 2
                for j in range(2 * (n >> 1), 2 * (n >> 1) + 2, height):
                    for i in range(2 * (n & 1), 2 * (n & 1) + 2, width):
                        x, y = predict_in_quarter(picture, which, j, i, width)
                        position = _read_vector(picture, position, which, j, i, height, width, x, y)
    return position
