"""Slice headers (ITU-T H.264, 7.3.3), read by a kernel into one row of integers each."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from cvr_lightning.codec.bitstream.kernels import (
    fault,
    read_bits,
    read_signed,
    read_unsigned,
    subroutine,
)
from cvr_lightning.codec.h264.faults import BAD_HEADER, CUT_SHORT, NO_PARAMETERS, UNREAD_SLICE
from cvr_lightning.codec.h264.nal import IDR_SLICE
from cvr_lightning.codec.h264.parameter_sets import PictureParameters, SequenceParameters

P: Final = 0
B: Final = 1
I: Final = 2  # noqa: E741

# Of the parameters in force: a row for each pair of sets.
(
    Q_VALID, Q_FRAME_NUM_BITS, Q_ORDER_TYPE, Q_ORDER_BITS, Q_ALWAYS_ZERO, Q_OFFSET_NON_REFERENCE,
    Q_OFFSET_BOTTOM, Q_REFERENCES, Q_GAPS, Q_COLUMNS, Q_ROWS, Q_CHROMA, Q_DIRECT_8X8,
    Q_CABAC, Q_BOTTOM_ORDER, Q_REFERENCES_0, Q_REFERENCES_1, Q_WEIGHTED, Q_BIPREDICTED, Q_QUANTIZER,
    Q_CB_OFFSET, Q_CR_OFFSET, Q_DEBLOCKING, Q_CONSTRAINED, Q_REDUNDANT, Q_TRANSFORM_8X8, Q_CYCLE,
) = range(27)  # fmt: skip
Q_OFFSETS: Final = 27
PARAMETERS: Final = Q_OFFSETS + 255

# Of a slice header.
(
    H_TYPE, H_FIRST, H_IDR, H_REFERENCE, H_FRAME_NUM, H_IDR_ID, H_ORDER_LSB, H_DELTA_BOTTOM, H_DELTA_0,
    H_DELTA_1, H_REDUNDANT, H_SPATIAL, H_REFERENCES_0, H_REFERENCES_1, H_MODIFIED_0, H_MODIFIED_1,
    H_WEIGHTED, H_LUMA_SHIFT, H_CHROMA_SHIFT, H_LONG_TERM_IDR, H_OPERATIONS, H_CABAC_INIT, H_QUANTIZER,
    H_POSITION, H_PICTURE_SET,
) = range(25)  # fmt: skip
HEADER: Final = 25
_SWITCHING_P: Final = 3
MOST_REFERENCES: Final = 32
_MOST_COMMANDS: Final = 66


def header_buffers() -> tuple[npt.NDArray[np.int64], ...]:
    """What :func:`read_header` fills: header, list modifications, marking operations, weights.

    (HEADER,); (2, 66, 2) modification_of_pic_nums_idc and value; (66, 3) memory_management_control_operation
    and two values; (2, 32, 3, 2) weight and offset of Y, Cb and Cr.
    """
    return (
        np.zeros(HEADER, np.int64),
        np.zeros((2, _MOST_COMMANDS, 2), np.int64),
        np.zeros((_MOST_COMMANDS, 3), np.int64),
        np.zeros((2, MOST_REFERENCES, 3, 2), np.int64),
    )


def parameter_row(sequence: SequenceParameters, picture: PictureParameters) -> npt.NDArray[np.int64]:
    """(PARAMETERS,) what the kernels must know of a pair of parameter sets."""
    row = np.zeros(PARAMETERS, np.int64)
    row[:Q_OFFSETS] = [
        1, sequence.frame_num_bits, sequence.order_type, sequence.order_bits, sequence.delta_always_zero,
        sequence.offset_non_reference, sequence.offset_bottom, sequence.references, sequence.gaps,
        sequence.columns, sequence.rows, sequence.chroma_format, sequence.direct_8x8, picture.cabac,
        picture.bottom_order, *picture.references, picture.weighted, picture.bipredicted, picture.quantizer,
        *picture.chroma_offsets, picture.deblocking, picture.constrained, picture.redundant,
        picture.transform_8x8, len(sequence.offsets),
    ]  # fmt: skip
    row[Q_OFFSETS : Q_OFFSETS + len(sequence.offsets)] = sequence.offsets
    return row


@subroutine
def slice_start(words):  # type: ignore[no-untyped-def]
    """first_mb_in_slice, slice_type and pic_parameter_set_id at the front of a slice: position, the three."""
    position, first = read_unsigned(words, 8)
    position, kind = read_unsigned(words, position)
    position, number = read_unsigned(words, position)
    return position, first, kind, number


@subroutine
def read_header(words, limit, rows, places, buffers):  # type: ignore[no-untyped-def]
    """Read the header of a slice: position of the slice data, or a fault.

    Args:
        words: The slice with the byte of its NAL unit header, without emulation prevention.
        limit: Its bits.
        rows: (R, PARAMETERS) parameters.
        places: (256,) row of each picture parameter set, -1 where there is none.
        buffers: Of :func:`header_buffers`.
    """
    header, modifications, operations, weights = buffers
    header[:] = 0
    position, first, kind, number = slice_start(words)
    unit = read_bits(words, 0, 8)
    if position > limit:
        return fault(CUT_SHORT, limit)
    if kind > 9 or number > 255:
        return fault(BAD_HEADER, position)
    if places[number] < 0:
        return fault(NO_PARAMETERS, position)
    q = rows[places[number]]
    kind %= 5
    header[H_TYPE], header[H_FIRST], header[H_PICTURE_SET] = kind, first, number
    header[H_REFERENCE], header[H_IDR] = unit >> 5 & 3, (unit & 31) == IDR_SLICE
    if not q[Q_VALID] or kind > I:
        header[H_TYPE] = P if kind == _SWITCHING_P else min(kind, I)
        return fault(UNREAD_SLICE, position)
    header[H_FRAME_NUM] = read_bits(words, position, q[Q_FRAME_NUM_BITS])
    position += q[Q_FRAME_NUM_BITS]
    position = _read_order(words, position, q, header)
    if kind == B:
        header[H_SPATIAL] = read_bits(words, position, 1)
        position += 1
    position = _read_references(words, position, limit, q, header, modifications)
    if position < 0:
        return position
    if (q[Q_WEIGHTED] and kind == P) or (q[Q_BIPREDICTED] == 1 and kind == B):
        position = _read_weights(words, position, limit, q, header, weights)
        if position < 0:
            return position
    if header[H_REFERENCE]:
        position = _read_marking(words, position, limit, header, operations)
        if position < 0:
            return position
    if q[Q_CABAC] and kind != I:
        position, header[H_CABAC_INIT] = read_unsigned(words, position)
        if header[H_CABAC_INIT] > 2:
            return fault(BAD_HEADER, position)
    position, delta = read_signed(words, position)
    header[H_QUANTIZER] = q[Q_QUANTIZER] + delta
    if not 0 <= header[H_QUANTIZER] <= 51:
        return fault(BAD_HEADER, position)
    if q[Q_DEBLOCKING]:
        position, mode = read_unsigned(words, position)
        if mode > 2:
            return fault(BAD_HEADER, position)
        if mode != 1:
            position, _alpha = read_signed(words, position)
            position, _beta = read_signed(words, position)
    header[H_POSITION] = position
    return position if position <= limit else fault(CUT_SHORT, limit)


@subroutine
def _read_order(words, position, q, header):  # type: ignore[no-untyped-def]
    """Read idr_pic_id, what gives the picture order count, and redundant_pic_cnt."""
    if header[H_IDR]:
        position, header[H_IDR_ID] = read_unsigned(words, position)
    if q[Q_ORDER_TYPE] == 0:
        header[H_ORDER_LSB] = read_bits(words, position, q[Q_ORDER_BITS])
        position += q[Q_ORDER_BITS]
        if q[Q_BOTTOM_ORDER]:
            position, header[H_DELTA_BOTTOM] = read_signed(words, position)
    elif q[Q_ORDER_TYPE] == 1 and not q[Q_ALWAYS_ZERO]:
        position, header[H_DELTA_0] = read_signed(words, position)
        if q[Q_BOTTOM_ORDER]:
            position, header[H_DELTA_1] = read_signed(words, position)
    if q[Q_REDUNDANT]:
        position, header[H_REDUNDANT] = read_unsigned(words, position)
    return position


@subroutine
def _read_references(words, position, limit, q, header, modifications):  # type: ignore[no-untyped-def]
    """Read the sizes of the reference lists and their modifications (7.3.3.1)."""
    kind = header[H_TYPE]
    if kind == I:
        return position
    header[H_REFERENCES_0] = q[Q_REFERENCES_0]
    header[H_REFERENCES_1] = q[Q_REFERENCES_1] if kind == B else 0
    override = read_bits(words, position, 1)
    position += 1
    if override:
        for i in range(1 + kind):
            position, count = read_unsigned(words, position)
            header[H_REFERENCES_0 + i] = count + 1
    for i in range(1 + kind):
        if header[H_REFERENCES_0 + i] > MOST_REFERENCES:
            return fault(BAD_HEADER, position)
        flag = read_bits(words, position, 1)
        position += 1
        count = 0
        while flag:
            position, command = read_unsigned(words, position)
            if command == 3:
                break
            if command > 3 or count == _MOST_COMMANDS or position > limit:
                return fault(BAD_HEADER, position)
            position, value = read_unsigned(words, position)
            modifications[i, count, 0], modifications[i, count, 1] = command, value
            count += 1
        header[H_MODIFIED_0 + i] = count
    return position


@subroutine
def _read_weights(words, position, limit, q, header, weights):  # type: ignore[no-untyped-def]
    """Read pred_weight_table (7.3.3.2)."""
    header[H_WEIGHTED] = 1
    position, header[H_LUMA_SHIFT] = read_unsigned(words, position)
    if q[Q_CHROMA]:
        position, header[H_CHROMA_SHIFT] = read_unsigned(words, position)
    if header[H_LUMA_SHIFT] > 7 or header[H_CHROMA_SHIFT] > 7:
        return fault(BAD_HEADER, position)
    for i in range(1 + header[H_TYPE]):
        for k in range(header[H_REFERENCES_0 + i]):
            if position > limit:
                return fault(CUT_SHORT, limit)
            for plane in range(3):
                shift = header[H_CHROMA_SHIFT] if plane else header[H_LUMA_SHIFT]
                weights[i, k, plane, 0], weights[i, k, plane, 1] = 1 << shift, 0
            flag = read_bits(words, position, 1)
            position += 1
            if flag:
                position, weights[i, k, 0, 0] = read_signed(words, position)
                position, weights[i, k, 0, 1] = read_signed(words, position)
            if q[Q_CHROMA]:
                flag = read_bits(words, position, 1)
                position += 1
                if flag:
                    for plane in range(1, 3):
                        position, weights[i, k, plane, 0] = read_signed(words, position)
                        position, weights[i, k, plane, 1] = read_signed(words, position)
    return position


@subroutine
def _read_marking(words, position, limit, header, operations):  # type: ignore[no-untyped-def]
    """Read dec_ref_pic_marking (7.3.3.3)."""
    if header[H_IDR]:
        header[H_LONG_TERM_IDR] = read_bits(words, position, 2) & 1
        return position + 2
    adaptive = read_bits(words, position, 1)
    position += 1
    count = 0
    while adaptive:
        position, command = read_unsigned(words, position)
        if command == 0:
            break
        if command > 6 or count == _MOST_COMMANDS or position > limit:
            return fault(BAD_HEADER, position)
        operations[count, 0] = command
        for k in range(1, 3):
            operations[count, k] = 0
            if (command != 5 and k == 1) or (command == 3 and k == 2):
                position, operations[count, k] = read_unsigned(words, position)
        count += 1
    header[H_OPERATIONS] = count
    return position
