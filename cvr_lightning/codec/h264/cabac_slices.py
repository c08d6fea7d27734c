"""The data of CABAC slices (ITU-T H.264, 7.3.4)."""

from __future__ import annotations

import numpy as np

from cvr_lightning.codec.bitstream.kernels import fault, subroutine, window
from cvr_lightning.codec.h264.cabac import initialize_contexts, position_of, start, terminate
from cvr_lightning.codec.h264.cabac_macroblocks import SKIP, read_macroblock, read_skip
from cvr_lightning.codec.h264.delivery import deliver
from cvr_lightning.codec.h264.faults import BAD_END, CUT_SHORT
from cvr_lightning.codec.h264.motion import skip_p
from cvr_lightning.codec.h264.slice_header import H_CABAC_INIT, H_FIRST, H_POSITION, H_QUANTIZER, H_TYPE, I
from cvr_lightning.codec.h264.slices import covers
from cvr_lightning.codec.h264.state import S_DELTA, enter


@subroutine
def begin_cabac(picture, header):  # type: ignore[no-untyped-def]
    """Initialize the contexts and the decoder at the data of a slice."""
    column = 0 if header[H_TYPE] == I else 1 + header[H_CABAC_INIT]
    initialize_contexts(picture.contexts, column, header[H_QUANTIZER])
    start(picture.words, picture.engine, (header[H_POSITION] + 7) & ~7)


@subroutine
def end_macroblock(picture, stop):  # type: ignore[no-untyped-def]
    """Read end_of_slice_flag: whether the slice ends, where or a fault."""
    words, engine = picture.words, picture.engine
    if terminate(words, engine):
        last = position_of(engine) - 1
        # x264 may set the last bit of the byte in which the slice ends.
        whole = last <= stop and last >> 3 == stop >> 3 and window(words, last) >> 31
        return True, last if whole else fault(BAD_END, last)
    if position_of(engine) > stop + 9:  # the decoder is 9 bits ahead
        return True, fault(CUT_SHORT, stop)
    return False, np.int64(0)


@subroutine
def read_cabac_slice(picture, header, stop, sink):  # type: ignore[no-untyped-def]
    """Read the data of a slice of I or P macroblocks: position or fault, last macroblock."""
    begin_cabac(picture, header)
    number = header[H_FIRST]
    while True:
        wrong = covers(picture, number)
        if wrong:
            return fault(wrong, position_of(picture.engine)), number
        enter(picture, number)
        if header[H_TYPE] != I and read_skip(picture, SKIP):
            skip_p(picture)
            picture.slice[S_DELTA] = 0
        else:
            wrong = read_macroblock(picture)
            if wrong:
                return fault(wrong, position_of(picture.engine)), number
            deliver(picture, sink)
        ends, position = end_macroblock(picture, stop)
        if ends:
            return position, number
        number += 1
