"""Accumulation of displacements and residuals back to the I-frame.

Follows CoViAR (Wu et al., Compressed Video Action Recognition, CVPR 2018, section 3.2). The vector of a cell
(a pixel, or a block represented by its center) points to a cell of the reference, whose vector points
further, and so on to the I-frame. Displacements and residuals are summed along this path. It ends at an intra
cell, which has no reference.
"""

from __future__ import annotations

import numba
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]


@numba.njit(nogil=True, cache=True)
def _trace(motion, residual, intra, cell, past_motion, past_residual):  # type: ignore[no-untyped-def]
    _, height, width = motion.shape
    out_motion, out_residual = motion.copy(), residual.copy()
    for y in range(height):
        for x in range(width):
            if intra[y, x]:
                continue
            row = int(np.floor(y + 0.5 + motion[1, y, x] / cell))
            column = int(np.floor(x + 0.5 + motion[0, y, x] / cell))
            row, column = min(max(row, 0), height - 1), min(max(column, 0), width - 1)
            out_motion[:, y, x] += past_motion[:, row, column]
            out_residual[:, y, x] += past_residual[:, row, column]
    return out_motion, out_residual


def trace(
    motion: Floats,
    residual: Floats,
    intra: npt.NDArray[np.bool_],
    cell: int,
    past: tuple[Floats, Floats] | None,
) -> tuple[Floats, Floats]:
    """Accumulate one P-frame.

    Args:
        motion: (2, H, W) displacements of the cells in pixels.
        residual: (C, H, W) residuals of the cells.
        intra: (H, W) true if the cell has no reference.
        cell: Side of a cell in pixels.
        past: Accumulated motion and residual of the reference; None if the reference is the I-frame.

    Returns:
        Accumulated motion and residual.
    """
    if past is None:
        return motion, residual
    traced: tuple[Floats, Floats] = _trace(motion, residual, intra, cell, *past)
    return traced
