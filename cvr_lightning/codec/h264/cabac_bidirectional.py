"""Macroblocks of CABAC B slices (ITU-T H.264, 7.3.5, binarizations of Tables 9-37 and 9-38)."""

from __future__ import annotations

from typing import Final

from cvr_lightning.codec.bitstream.kernels import subroutine
from cvr_lightning.codec.h264.bidirectional import (
    DIRECT_16X16,
    FIRST_INTRA,
    QUARTER_SPLITS,
    QUARTER_USES,
    QUARTERS,
    SHAPES,
    USES,
)
from cvr_lightning.codec.h264.cabac import read_bin
from cvr_lightning.codec.h264.cabac_macroblocks import read_inter_residual, read_intra, read_type_i_in
from cvr_lightning.codec.h264.cabac_motion import read_partitions, read_quarter_motion
from cvr_lightning.codec.h264.direct import infer_direct
from cvr_lightning.codec.h264.state import (
    DIRECT,
    INTER_8X8,
    INTER_16X16,
    M_KIND,
    S_ABOVE,
    S_DIRECT_8X8,
    S_LEFT,
    S_MACROBLOCK,
    SKIPPED,
)

SKIP: Final = 24
_TYPE: Final = 27
_TYPE_I: Final = 32
_QUARTER: Final = 36
_INTRA_PREFIX: Final = 13
_QUARTERS_PREFIX: Final = 15
_L1_L0_8X16_PREFIX: Final = 14
_L1_L0_8X16: Final = 11


@subroutine
def read_macroblock(picture, colocated):  # type: ignore[no-untyped-def]
    """Read macroblock_layer of a B macroblock in hand: 0, or a fault's code."""
    s = picture.slice
    row = picture.macroblocks[s[S_MACROBLOCK]]
    code = _read_type(picture)
    if code >= FIRST_INTRA:
        return read_intra(picture, code - FIRST_INTRA)
    whole = True
    if code == DIRECT_16X16:
        row[M_KIND] = DIRECT
        wrong, whole = infer_direct(picture, colocated, 15), s[S_DIRECT_8X8] != 0
    elif code == QUARTERS:
        row[M_KIND] = INTER_8X8
        wrong, whole = _read_quarters(picture, colocated)
    else:
        row[M_KIND] = INTER_16X16 + SHAPES[code]
        wrong = read_partitions(picture, SHAPES[code], USES[code])
    return wrong if wrong else read_inter_residual(picture, whole)


@subroutine
def _read_type(picture):  # type: ignore[no-untyped-def]
    """Read mb_type of a B slice."""
    s, table = picture.slice, picture.macroblocks
    index = _TYPE
    for k in range(2):
        number = s[S_ABOVE] if k else s[S_LEFT]
        if number >= 0 and table[number, M_KIND] not in (SKIPPED, DIRECT):
            index += 1
    if not read_bin(picture, index):
        return DIRECT_16X16
    if not read_bin(picture, _TYPE + 3):
        return 1 + read_bin(picture, _TYPE + 5)
    bits = read_bin(picture, _TYPE + 4)
    for _ in range(3):
        bits = bits << 1 | read_bin(picture, _TYPE + 5)
    if bits < 8:
        return bits + 3
    if bits == _INTRA_PREFIX:
        return FIRST_INTRA + read_type_i_in(picture, _TYPE_I)
    if bits == _L1_L0_8X16_PREFIX:
        return _L1_L0_8X16
    if bits == _QUARTERS_PREFIX:
        return QUARTERS
    return (bits << 1 | read_bin(picture, _TYPE + 5)) - 4


@subroutine
def _read_quarter_type(picture):  # type: ignore[no-untyped-def]
    """Read sub_mb_type of a B slice."""
    if not read_bin(picture, _QUARTER):
        return 0
    if not read_bin(picture, _QUARTER + 1):
        return 1 + read_bin(picture, _QUARTER + 3)
    code = 3
    if read_bin(picture, _QUARTER + 2):
        if read_bin(picture, _QUARTER + 3):
            return 11 + read_bin(picture, _QUARTER + 3)
        code = 7
    code += 2 * read_bin(picture, _QUARTER + 3)
    return code + read_bin(picture, _QUARTER + 3)


@subroutine
def _read_quarters(picture, colocated):  # type: ignore[no-untyped-def]
    """Read a B_8x8 macroblock: 0 or a fault's code, whether an 8x8 transform is allowed."""
    splits = uses = direct = 0
    for n in range(4):
        code = _read_quarter_type(picture)
        splits |= QUARTER_SPLITS[code] << (2 * n)
        uses |= QUARTER_USES[code] << (2 * n)
        direct |= (code == 0) << n
    if direct:
        wrong = infer_direct(picture, colocated, direct)
        if wrong:
            return wrong, False
    whole = splits == 0 and (direct == 0 or picture.slice[S_DIRECT_8X8] != 0)
    return read_quarter_motion(picture, splits, uses), whole
