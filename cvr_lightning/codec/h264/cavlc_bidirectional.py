"""Macroblocks of CAVLC B slices (ITU-T H.264, 7.3.5)."""

from __future__ import annotations

from cvr_lightning.codec.bitstream.kernels import fault, read_unsigned, subroutine
from cvr_lightning.codec.h264.bidirectional import (
    DIRECT_16X16,
    FIRST_INTRA,
    LARGEST_QUARTER,
    QUARTER_SPLITS,
    QUARTER_USES,
    QUARTERS,
    SHAPES,
    USES,
)
from cvr_lightning.codec.h264.cavlc_macroblocks import read_inter_residual, read_intra
from cvr_lightning.codec.h264.cavlc_motion import read_partitions, read_quarter_motion
from cvr_lightning.codec.h264.direct import infer_direct
from cvr_lightning.codec.h264.faults import BAD_TYPE
from cvr_lightning.codec.h264.state import (
    DIRECT,
    INTER_8X8,
    INTER_16X16,
    M_KIND,
    S_DIRECT_8X8,
    S_MACROBLOCK,
)


@subroutine
def read_macroblock(picture, position, colocated):  # type: ignore[no-untyped-def]
    """Read macroblock_layer of a B macroblock in hand."""
    s = picture.slice
    row = picture.macroblocks[s[S_MACROBLOCK]]
    position, code = read_unsigned(picture.words, position)
    if code >= FIRST_INTRA:
        return read_intra(picture, position, code - FIRST_INTRA)
    whole = True
    if code == DIRECT_16X16:
        row[M_KIND] = DIRECT
        wrong, whole = infer_direct(picture, colocated, 15), s[S_DIRECT_8X8] != 0
        if wrong:
            return fault(wrong, position)
    elif code == QUARTERS:
        row[M_KIND] = INTER_8X8
        position, whole = _read_quarters(picture, position, colocated)
    else:
        row[M_KIND] = INTER_16X16 + SHAPES[code]
        position = read_partitions(picture, position, SHAPES[code], USES[code])
    return read_inter_residual(picture, position, whole) if position >= 0 else position


@subroutine
def _read_quarters(picture, position, colocated):  # type: ignore[no-untyped-def]
    """Read a B_8x8 macroblock: position, whether an 8x8 transform is allowed."""
    splits = uses = direct = 0
    for n in range(4):
        position, code = read_unsigned(picture.words, position)
        if code > LARGEST_QUARTER:
            return fault(BAD_TYPE, position), False
        splits |= QUARTER_SPLITS[code] << (2 * n)
        uses |= QUARTER_USES[code] << (2 * n)
        direct |= (code == 0) << n
    if direct:
        wrong = infer_direct(picture, colocated, direct)
        if wrong:
            return fault(wrong, position), False
    whole = splits == 0 and (direct == 0 or picture.slice[S_DIRECT_8X8] != 0)
    return read_quarter_motion(picture, position, splits, uses, False), whole
