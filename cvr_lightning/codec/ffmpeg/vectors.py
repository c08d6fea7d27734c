"""FFmpeg's exported motion vectors on the 8x8 block grid of whole macroblocks."""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
import numpy.typing as npt
from av.video.frame import VideoFrame

from cvr_lightning.codec.arrays import BlockMode
from cvr_lightning.codec.mpeg4.prediction import Planes
from cvr_lightning.codec.side_data import side_data

_SKIPPED = np.uint8(BlockMode.SKIPPED)


@dataclass(frozen=True)
class VectorField:
    """Vectors of one P-frame on the grid (2 M, 2 N) of its M x N macroblocks.

    Attributes:
        vectors: (2 M, 2 N, 2) int64, (x, y) in 1/scale samples, from the current block to its reference. For
            partitions smaller than 8x8 (H.264 only), the average over the block; FFmpeg exports only the
            first vector of each 8x8.
        inter: (2 M, 2 N) bool, a vector covers the block.
        split: (M, N) bool, four 8x8 vectors.
        scale: Vector units per sample: 2 for half samples, 4 for quarter samples.
    """

    vectors: npt.NDArray[np.int64]
    inter: npt.NDArray[np.bool_]
    split: npt.NDArray[np.bool_]
    scale: int


@numba.njit(nogil=True, cache=True)
def _spread(exported, vectors, area, parts):  # type: ignore[no-untyped-def]
    height, width = area.shape
    scale = 0
    for mv in exported:
        if mv["source"] != -1:
            continue
        scale = max(scale, np.int64(mv["motion_scale"]))
        w, h = np.int64(mv["w"]), np.int64(mv["h"])
        left, top = np.int64(mv["dst_x"]) - w // 2, np.int64(mv["dst_y"]) - h // 2
        if left < 0 or top < 0 or left + w > 8 * width or top + h > 8 * height:
            continue
        if w == 8 and h == 8:
            parts[top // 16, left // 16] += 1
        for by in range(top // 8, (top + h + 7) // 8):
            for bx in range(left // 8, (left + w + 7) // 8):
                size = min(w, 8) * min(h, 8)
                area[by, bx] += size
                vectors[by, bx, 0] += size * np.int64(mv["motion_x"])
                vectors[by, bx, 1] += size * np.int64(mv["motion_y"])
    for by in range(height):
        for bx in range(width):
            if area[by, bx]:
                vectors[by, bx, 0] = round(vectors[by, bx, 0] / area[by, bx])
                vectors[by, bx, 1] = round(vectors[by, bx, 1] / area[by, bx])
    return scale


def vector_field(frame: VideoFrame, macroblocks: tuple[int, int]) -> VectorField:
    """Read the forward vectors of a decoded P-frame.

    Args:
        frame: A frame decoded with vectors exported.
        macroblocks: (M, N) rows and columns of macroblocks.
    """
    rows, columns = macroblocks
    vectors = np.zeros((2 * rows, 2 * columns, 2), np.int64)
    area = np.zeros((2 * rows, 2 * columns), np.int64)
    parts = np.zeros((rows, columns), np.int64)
    exported = side_data(frame, "MOTION_VECTORS")
    scale = 0
    if exported is not None:
        scale = _spread(exported.to_ndarray(), vectors, area, parts)
    return VectorField(vectors, area > 0, parts == 4, scale or 2)


@numba.njit(nogil=True, cache=True)
def _same(a, b, top, left, size):  # type: ignore[no-untyped-def]
    for y in range(top, top + size):
        for x in range(left, left + size):
            if a[y, x] != b[y, x]:
                return False
    return True


@numba.njit(nogil=True, cache=True)
def _mark_skipped(planes, reference, vectors, inter, skipped, modes):  # type: ignore[no-untyped-def]
    for y in range(0, inter.shape[0], 2):
        for x in range(0, inter.shape[1], 2):
            still = np.all(inter[y : y + 2, x : x + 2]) and not np.any(vectors[y : y + 2, x : x + 2])
            if (
                still
                and _same(planes[0], reference[0], 8 * y, 8 * x, 16)
                and _same(planes[1], reference[1], 4 * y, 4 * x, 8)
                and _same(planes[2], reference[2], 4 * y, 4 * x, 8)
            ):
                modes[y : y + 2, x : x + 2] = skipped


def mark_skipped(planes: Planes, reference: Planes, field: VectorField, modes: npt.NDArray[np.uint8]) -> None:
    """Mark macroblocks that are exact copies of the reference with a zero vector as skipped.

    FFmpeg does not distinguish a skipped macroblock from one coded with a zero vector and no coefficients;
    both carry the same information.

    Args:
        planes: Y, Cb, Cr of the frame.
        reference: Y, Cb, Cr of its reference.
        field: Its vectors.
        modes: (2 M, 2 N) uint8, changed in place.
    """
    _mark_skipped(planes, reference, field.vectors, field.inter, _SKIPPED, modes)
