"""Slices: the macroblocks that they cover, and where they must end (ITU-T H.264, 7.3.4)."""

from __future__ import annotations

from cvr_lightning.codec.bitstream.kernels import fault, fill_words, inlined, read_unsigned, subroutine
from cvr_lightning.codec.h264.cavlc_macroblocks import read_macroblock
from cvr_lightning.codec.h264.delivery import deliver
from cvr_lightning.codec.h264.faults import BAD_END, BAD_RUN, COVERED_TWICE, CUT_SHORT
from cvr_lightning.codec.h264.motion import skip_p
from cvr_lightning.codec.h264.nal import stop_bit, unescape
from cvr_lightning.codec.h264.slice_header import (
    H_FIRST,
    H_POSITION,
    H_QUANTIZER,
    H_REFERENCES_0,
    H_SPATIAL,
    H_TYPE,
    Q_CB_OFFSET,
    Q_CHROMA,
    Q_COLUMNS,
    Q_CONSTRAINED,
    Q_CR_OFFSET,
    Q_DIRECT_8X8,
    Q_ROWS,
    Q_TRANSFORM_8X8,
    I,
)
from cvr_lightning.codec.h264.state import (
    M_SLICE,
    S_CB_OFFSET,
    S_CHROMA,
    S_COLUMNS,
    S_CONSTRAINED,
    S_CR_OFFSET,
    S_DELTA,
    S_DIRECT_8X8,
    S_NUMBER,
    S_QUANTIZER,
    S_REFERENCES_0,
    S_REFERENCES_1,
    S_ROWS,
    S_SPATIAL,
    S_TRANSFORM_8X8,
    S_TYPE,
    enter,
)


@subroutine
def begin_slice(picture, header, q, number, scales):  # type: ignore[no-untyped-def]
    """Take a slice in hand."""
    s = picture.slice
    s[S_TYPE], s[S_NUMBER], s[S_QUANTIZER], s[S_DELTA] = header[H_TYPE], number, header[H_QUANTIZER], 0
    s[S_COLUMNS], s[S_ROWS], s[S_CHROMA] = q[Q_COLUMNS], q[Q_ROWS], q[Q_CHROMA]
    s[S_TRANSFORM_8X8], s[S_CONSTRAINED] = q[Q_TRANSFORM_8X8], q[Q_CONSTRAINED]
    s[S_DIRECT_8X8], s[S_SPATIAL] = q[Q_DIRECT_8X8], header[H_SPATIAL]
    s[S_REFERENCES_0], s[S_REFERENCES_1] = header[H_REFERENCES_0], header[H_REFERENCES_0 + 1]
    s[S_CB_OFFSET], s[S_CR_OFFSET] = q[Q_CB_OFFSET], q[Q_CR_OFFSET]
    for i in range(8):
        for j in range(6):
            for k in range(64):
                picture.scales[i, j, k] = scales[i, j, k]


@subroutine
def load_slice(picture, data, begin, end, payload):  # type: ignore[no-untyped-def]
    """Bring a NAL unit into ``picture.words``: bit of its rbsp_stop_one_bit, -1 where it is empty."""
    size = unescape(data, begin, end, payload)
    fill_words(payload, size, picture.words)
    return stop_bit(payload, size)


@inlined
def covers(picture, macroblock):  # type: ignore[no-untyped-def]
    """The fault of a slice that goes on with a macroblock, 0 where it may."""
    if macroblock >= len(picture.macroblocks):
        return BAD_END
    return COVERED_TWICE if picture.macroblocks[macroblock, M_SLICE] >= 0 else 0


@subroutine
def read_cavlc_slice(picture, header, stop, sink):  # type: ignore[no-untyped-def]
    """Read the data of a slice of I or P macroblocks: position or fault, last macroblock."""
    position, number = header[H_POSITION], header[H_FIRST]
    while True:
        if header[H_TYPE] != I:
            position, run = read_unsigned(picture.words, position)
            if run > len(picture.macroblocks) - number or position > stop:
                return fault(BAD_RUN, position), number
            for _ in range(run):
                wrong = covers(picture, number)
                if wrong:
                    return fault(wrong, position), number
                enter(picture, number)
                skip_p(picture)
                number += 1
            if run and position == stop:
                return position, number
        wrong = covers(picture, number)
        if wrong:
            return fault(wrong, position), number
        enter(picture, number)
        position = read_macroblock(picture, position)
        if position < 0:
            return position, number
        deliver(picture, sink)
        number += 1
        if position == stop:
            return position, number
        if position > stop:
            return fault(CUT_SHORT, stop), number - 1
