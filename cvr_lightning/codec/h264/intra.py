"""Intra prediction modes (ITU-T H.264, 8.3.1.1 and 8.3.2.1)."""

from __future__ import annotations

import numpy as np

from cvr_lightning.codec.bitstream.kernels import subroutine
from cvr_lightning.codec.h264.state import (
    INTRA_4X4,
    INTRA_8X8,
    M_KIND,
    S_ABOVE,
    S_CONSTRAINED,
    S_LEFT,
    S_MACROBLOCK,
)

_DC = 2


@subroutine
def _mode(picture, number, place):  # type: ignore[no-untyped-def]
    """The mode of a block as a predictor; -1 where DC is predicted for want of it."""
    if number < 0:
        return np.int64(-1)
    kind = picture.macroblocks[number, M_KIND]
    if kind in (INTRA_4X4, INTRA_8X8):
        return np.int64(picture.modes[number, place])
    if kind < INTRA_4X4 and picture.slice[S_CONSTRAINED]:
        return np.int64(-1)
    return np.int64(_DC)


@subroutine
def predict_mode(picture, place):  # type: ignore[no-untyped-def]
    """Predict the mode of the block at a place in raster order."""
    s = picture.slice
    number = s[S_MACROBLOCK]
    a = _mode(picture, number, place - 1) if place & 3 else _mode(picture, s[S_LEFT], place + 3)
    b = _mode(picture, number, place - 4) if place >> 2 else _mode(picture, s[S_ABOVE], place + 12)
    return np.int64(_DC) if a < 0 or b < 0 else min(a, b)


@subroutine
def set_mode(picture, place, predicted, remainder, side):  # type: ignore[no-untyped-def]
    """Set the mode of ``side`` x ``side`` blocks; ``remainder`` is -1 where it is the predicted one."""
    mode = predicted if remainder < 0 else remainder + (remainder >= predicted)
    number = picture.slice[S_MACROBLOCK]
    for j in range(side):
        for i in range(side):
            picture.modes[number, place + 4 * j + i] = mode
