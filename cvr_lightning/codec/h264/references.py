"""Which pictures a slice refers to: picture order count, reference lists, marking (ITU-T H.264, 8.2)."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from cvr_lightning.codec.bitstream.kernels import subroutine
from cvr_lightning.codec.h264.slice_header import (
    H_DELTA_0,
    H_DELTA_1,
    H_DELTA_BOTTOM,
    H_FRAME_NUM,
    H_IDR,
    H_LONG_TERM_IDR,
    H_OPERATIONS,
    H_ORDER_LSB,
    H_REFERENCE,
    MOST_REFERENCES,
    Q_ALWAYS_ZERO,
    Q_CYCLE,
    Q_FRAME_NUM_BITS,
    Q_OFFSET_BOTTOM,
    Q_OFFSET_NON_REFERENCE,
    Q_OFFSETS,
    Q_ORDER_BITS,
    Q_ORDER_TYPE,
    Q_REFERENCES,
)

MISSING: Final = -1
"""Stands for a picture that is not in the stream."""
ROOM: Final = 17
MARK, FRAME_NUM, LONG, ORDER, PICTURE = range(5)
_UNUSED, SHORT, LONG_TERM = range(3)
_MSB, _LSB, _OFFSET, _LAST_FRAME_NUM, _LAST_REFERENCE_NUM, _EPOCH, _COUNT = range(7)
EPOCH: Final = _EPOCH


class DecodedPictures(NamedTuple):
    """What decoding the headers so far leaves behind.

    Attributes:
        pictures: (17, 5) the decoded picture buffer: mark, frame_num, LongTermFrameIdx, order count, number.
        state: (7,) what the next picture order count and frame_num are counted from; how often order counts
            have begun anew; how many pictures there were.
        lists: (2, 33) numbers of the pictures of the last slice's reference lists, MISSING where there is
            none.
        kinds: (2, 33) whether they are long-term.
        orders: (2, 33) their order counts.
        scratch: (2, 17) rows of ``pictures``.
    """

    pictures: npt.NDArray[np.int64]
    state: npt.NDArray[np.int64]
    lists: npt.NDArray[np.int64]
    kinds: npt.NDArray[np.int64]
    orders: npt.NDArray[np.int64]
    scratch: npt.NDArray[np.int64]


def no_pictures() -> DecodedPictures:
    """Before the first picture."""
    lists, kinds, orders = (np.full((2, MOST_REFERENCES + 1), MISSING, np.int64) for _ in range(3))
    pictures, scratch = np.zeros((ROOM, 5), np.int64), np.zeros((2, ROOM), np.int64)
    return DecodedPictures(pictures, np.zeros(7, np.int64), lists, kinds, orders, scratch)


@subroutine
def begin_picture(header, q, decoded):  # type: ignore[no-untyped-def]
    """Fill gaps in frame_num and give the picture order count of a picture from its first slice."""
    pictures, state = decoded.pictures, decoded.state
    largest = 1 << q[Q_FRAME_NUM_BITS]
    frame_num = header[H_FRAME_NUM]
    if header[H_IDR]:
        pictures[:, MARK] = _UNUSED
        state[_MSB], state[_LSB], state[_OFFSET], state[_LAST_FRAME_NUM] = 0, 0, 0, 0
        state[_EPOCH] += 1
    else:
        last = state[_LAST_REFERENCE_NUM]
        gap = (frame_num - last - 1) % largest
        if frame_num != last and gap:
            for k in range(min(gap, q[Q_REFERENCES]), 0, -1):
                number = (frame_num - k) % largest
                _slide(pictures, number, q[Q_REFERENCES], largest)
                _insert(pictures, SHORT, number, 0, 0, MISSING, number, largest)
            before = (frame_num - 1) % largest
            if before < state[_LAST_FRAME_NUM]:
                state[_OFFSET] += largest
            state[_LAST_FRAME_NUM] = before
    return _order_count(header, q, state, largest)


@subroutine
def _order_count(header, q, state, largest):  # type: ignore[no-untyped-def]
    """Top and bottom picture order count (8.2.1)."""
    if q[Q_ORDER_TYPE] == 0:
        span = 1 << q[Q_ORDER_BITS]
        lsb, msb = header[H_ORDER_LSB], state[_MSB]
        if lsb < state[_LSB] and state[_LSB] - lsb >= span >> 1:
            msb += span
        elif lsb > state[_LSB] and lsb - state[_LSB] > span >> 1:
            msb -= span
        if header[H_REFERENCE]:
            state[_MSB], state[_LSB] = msb, lsb
        return msb + lsb, msb + lsb + header[H_DELTA_BOTTOM]
    frame_num = header[H_FRAME_NUM]
    if not header[H_IDR] and state[_LAST_FRAME_NUM] > frame_num:
        state[_OFFSET] += largest
    state[_LAST_FRAME_NUM] = frame_num
    number = state[_OFFSET] + frame_num
    if q[Q_ORDER_TYPE] == 2:
        top = 2 * number - (header[H_REFERENCE] == 0)
        return top, top
    cycle = q[Q_CYCLE]
    number = number if cycle else 0
    if header[H_REFERENCE] == 0 and number > 0:
        number -= 1
    top = np.int64(0)
    if number > 0:
        total = np.int64(0)
        for i in range(cycle):
            total += q[Q_OFFSETS + i]
        whole, part = (number - 1) // cycle, (number - 1) % cycle
        top = whole * total
        for i in range(part + 1):
            top += q[Q_OFFSETS + i]
    if header[H_REFERENCE] == 0:
        top += q[Q_OFFSET_NON_REFERENCE]
    if not q[Q_ALWAYS_ZERO]:
        top += header[H_DELTA_0]
    return top, top + q[Q_OFFSET_BOTTOM] + header[H_DELTA_1]


@subroutine
def wrapped(frame_num, current, largest):  # type: ignore[no-untyped-def]
    """FrameNumWrap (8.2.4.1), which is PicNum of frames."""
    return frame_num - largest if frame_num > current else frame_num


@subroutine
def _slide(pictures, current, most, largest):  # type: ignore[no-untyped-def]
    """Sliding window marking (8.2.5.3): make room for one reference."""
    while True:
        used, oldest, smallest = 0, -1, largest
        for i in range(ROOM):
            if pictures[i, MARK] != _UNUSED:
                used += 1
            if pictures[i, MARK] == SHORT:
                number = wrapped(pictures[i, FRAME_NUM], current, largest)
                if number < smallest:
                    oldest, smallest = i, number
        if used < max(most, 1) or oldest < 0:
            return
        pictures[oldest, MARK] = _UNUSED


@subroutine
def _insert(pictures, mark, frame_num, long_index, order, picture, current, largest):  # type: ignore[no-untyped-def]
    place = -1
    for i in range(ROOM):
        if pictures[i, MARK] == _UNUSED:
            place = i
    if place < 0:
        _slide(pictures, current, ROOM, largest)
        for i in range(ROOM):
            if pictures[i, MARK] == _UNUSED:
                place = i
    if place >= 0:
        pictures[place, MARK], pictures[place, FRAME_NUM] = mark, frame_num
        pictures[place, LONG], pictures[place, ORDER] = long_index, order
        pictures[place, PICTURE] = picture


@subroutine
def find(pictures, mark, value, current, largest):  # type: ignore[no-untyped-def]
    """The row of a short-term picture by PicNum, of a long-term one by LongTermPicNum; -1 without."""
    for i in range(ROOM):
        if pictures[i, MARK] == mark:
            number = pictures[i, LONG]
            if mark == SHORT:
                number = wrapped(pictures[i, FRAME_NUM], current, largest)
            if number == value:
                return i
    return -1


@subroutine
def end_picture(header, q, top, bottom, picture, decoded, operations):  # type: ignore[no-untyped-def]
    """Mark pictures after one is decoded (8.2.5); returns its order count, which may begin anew."""
    pictures, state = decoded.pictures, decoded.state
    order = min(top, bottom)
    frame_num = header[H_FRAME_NUM]
    if not header[H_REFERENCE]:
        return order
    largest = 1 << q[Q_FRAME_NUM_BITS]
    mark, long_index, restart = SHORT, 0, False
    if header[H_IDR]:
        if header[H_LONG_TERM_IDR]:
            mark = LONG_TERM
    elif header[H_OPERATIONS]:
        for n in range(header[H_OPERATIONS]):
            command, value = operations[n, 0], operations[n, 1]
            if command == 5:
                restart = True
                mark = SHORT
            if command == 6:
                mark, long_index = LONG_TERM, value
            _operate(pictures, command, value, operations[n, 2], frame_num, largest)
        if restart:
            order, frame_num = order - min(top, bottom), 0
            state[_EPOCH] += 1
            state[_MSB], state[_LSB] = 0, top - min(top, bottom)
            state[_OFFSET], state[_LAST_FRAME_NUM] = 0, 0
    else:
        _slide(pictures, frame_num, q[Q_REFERENCES], largest)
    _insert(pictures, mark, frame_num, long_index, order, picture, frame_num, largest)
    state[_LAST_REFERENCE_NUM] = frame_num
    return order


@subroutine
def _operate(pictures, command, value, index, frame_num, largest):  # type: ignore[no-untyped-def]
    """One memory management control operation (8.2.5.4)."""
    if command in (3, 6):  # the index is given away
        given = value if command == 6 else index
        for i in range(ROOM):
            if pictures[i, MARK] == LONG_TERM and pictures[i, LONG] == given:
                pictures[i, MARK] = _UNUSED
    if command in (1, 3):
        row = find(pictures, SHORT, frame_num - value - 1, frame_num, largest)
        if row >= 0:
            pictures[row, MARK] = _UNUSED if command == 1 else LONG_TERM
            pictures[row, LONG] = index
    elif command == 2:
        row = find(pictures, LONG_TERM, value, frame_num, largest)
        if row >= 0:
            pictures[row, MARK] = _UNUSED
    elif command == 4:
        for i in range(ROOM):
            if pictures[i, MARK] == LONG_TERM and pictures[i, LONG] >= value:
                pictures[i, MARK] = _UNUSED
    elif command == 5:
        pictures[:, MARK] = _UNUSED
