"""Scaling lists of parameter sets (ITU-T H.264, 7.3.2.1.1.1)."""

from __future__ import annotations

from typing import Final

from cvr_lightning.codec.bitstream.bits import BitReader
from cvr_lightning.codec.h264.tables import SCALING_4X4, SCALING_8X8

ScalingLists = tuple[tuple[int, ...] | None, ...]
"""Eight lists in zigzag order: six of 16 values, two of 64; None where the fall-back rule decides."""
_DEFAULTS: Final = (*3 * (SCALING_4X4[0],), *3 * (SCALING_4X4[1],), SCALING_8X8[0], SCALING_8X8[1])
_FLAT: Final = (*6 * ((16,) * 16,), *2 * ((16,) * 64,))


def read_scaling(bits: BitReader, count: int) -> ScalingLists:
    """Read ``count`` scaling lists (7.3.2.1.1.1), of which the first eight are those of luma and 4:2:0."""
    lists: list[tuple[int, ...] | None] = []
    for i in range(count):
        if not bits.flag():
            lists.append(None)
            continue
        last, following, values = 8, 8, list[int]()
        for _ in range(16 if i < 6 else 64):
            if following:
                following = (last + bits.signed()) % 256
                if not values and not following:
                    break  # useDefaultScalingMatrixFlag
            last = following or last
            values.append(last)
        lists.append(tuple(values) or tuple(_DEFAULTS[min(i, 6 + i % 2)]))
    return (*lists[:8], *(8 - len(lists)) * (None,))


def scaling_in_force(
    sequence: ScalingLists | None, picture: ScalingLists | None
) -> tuple[tuple[int, ...], ...]:
    """The eight scaling lists in force (7.4.2.1.1.1 and 7.4.2.2, Table 7-2), in zigzag order."""
    lists = _FLAT if sequence is None else _with_fallback(sequence, _DEFAULTS)
    if picture is None:
        return lists
    return _with_fallback(picture, _DEFAULTS if sequence is None else lists)


def _with_fallback(lists: ScalingLists, first: tuple[tuple[int, ...], ...]) -> tuple[tuple[int, ...], ...]:
    out: list[tuple[int, ...]] = []
    for i, values in enumerate(lists):
        fallback = first[i] if i in (0, 3, 6, 7) else out[-1]
        out.append(tuple(fallback) if values is None else values)
    return tuple(out)
