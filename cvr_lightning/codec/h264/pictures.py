"""What the slice headers of packets say: type, order and references of each picture."""

from __future__ import annotations

from typing import Final

import numpy as np

from cvr_lightning.codec.bitstream.kernels import fault, fill_words, kernel, subroutine
from cvr_lightning.codec.h264.faults import BAD_HEADER, BAD_UNIT, UNREAD_SLICE
from cvr_lightning.codec.h264.nal import (
    IDR_SLICE,
    PARTITION_A,
    PARTITION_C,
    SLICE,
    SUPPLEMENTAL,
    next_unit,
    unescape,
)
from cvr_lightning.codec.h264.reference_lists import fill_lists
from cvr_lightning.codec.h264.references import (
    EPOCH,
    begin_picture,
    end_picture,
)
from cvr_lightning.codec.h264.slice_header import (
    H_FIRST,
    H_FRAME_NUM,
    H_IDR,
    H_PICTURE_SET,
    H_REDUNDANT,
    H_REFERENCE,
    H_REFERENCES_0,
    H_TYPE,
    B,
    I,
    read_header,
)

(
    C_KIND, C_IDR, C_REFERENCE, C_EPOCH, C_ORDER, C_FAULT, C_ROW, C_LISTS, C_FRAME_NUM, C_START, C_PLAIN,
) = range(11)  # fmt: skip
"""Of a packet: type, IDR, reference, epoch and order count, fault, row of parameters (-1 where its slices
are not read), end of its lists, frame_num; decoding can begin here; its slices are of one type."""
COLUMNS: Final = 11
NO_PICTURE: Final = 3
LETTERS: Final = np.frombuffer(b"PBIN", "S1")
_HEAD_BYTES = 64
LONGEST_HEADER = 4096
_HEAD_PADDING = 64  # words; reading a header beyond its end is noticed before it has read as many
_RECOVERY_POINT = 6


@kernel
def read_slice_start(data, begin, end, rows, places, buffers, payload, words):  # type: ignore[no-untyped-def]
    """Read the header of the slice in ``data[begin:end]``: position of its data, or a fault."""
    position = np.int64(0)
    for attempt in range(2):
        most = LONGEST_HEADER if attempt else _HEAD_BYTES
        size = unescape(data, begin, min(end, begin + most), payload)
        fill_words(payload, size, words, _HEAD_PADDING)
        position = read_header(words, 8 * size, rows, places, buffers)
        if position >= 0 or end - begin <= most:
            break
    return position


@subroutine
def _store_lists(header, decoded, order, lists, used):  # type: ignore[no-untyped-def]
    """Store the lists of a slice: the new length, -1 where there is no room.

    Those of a B slice are followed by the distance of each entry in order counts, doubled, plus 1 if it is
    long-term.
    """
    counts = (header[H_REFERENCES_0], header[H_REFERENCES_0 + 1])
    entries = counts[0] + counts[1]
    size = 2 + (2 * entries if counts[1] else entries)
    if used + size > lists.size:
        return -1
    lists[used], lists[used + 1] = counts
    for i in range(counts[0]):
        lists[used + 2 + i] = decoded.lists[0, i]
    for i in range(counts[1]):
        lists[used + 2 + counts[0] + i] = decoded.lists[1, i]
    if counts[1]:
        for k in range(entries):
            which = np.int64(k >= counts[0])
            i = k - which * counts[0]
            far = order - decoded.orders[which, i]
            lists[used + 2 + entries + k] = 2 * far + decoded.kinds[which, i]
    return used + size


@subroutine
def _recovers_at_once(data, begin, end):  # type: ignore[no-untyped-def]
    """Whether an SEI unit holds a recovery point message with recovery_frame_cnt 0 (D.1.8)."""
    place = begin + 1
    while place + 2 < end:
        kind, size = np.int64(data[place]), np.int64(data[place + 1])
        if kind == _RECOVERY_POINT:
            return np.int64(data[place + 2]) >> 7  # ue(v) of 0 is one bit
        if kind == 255 or size == 255:
            break
        place += 2 + size
    return np.int64(0)


@kernel
def scan_packets(  # type: ignore[no-untyped-def]
    data, begins, ends, first, prefix, contexts, parameters, decoded, buffers, payload, words, rows, lists
):
    """Fill the rows of packets from ``first`` on: the packet to go on at, and the lists' length."""
    all_rows, all_places = parameters
    header, modifications, operations, _weights = buffers
    used = 0
    for packet in range(first, ends.size):
        row = rows[packet]
        row[C_KIND], row[C_ROW], row[C_FAULT] = NO_PICTURE, -1, 0
        number = decoded.state[6]
        position = begins[packet]
        places = all_places[contexts[packet]]
        top, bottom = np.int64(0), np.int64(0)
        firsts, plain = 0, True
        if used > (lists.size >> 1) and packet > first:
            return packet, used
        while True:
            begin, end, position = next_unit(data, position, ends[packet], prefix)
            if begin < 0:
                if begin == -2:
                    row[C_FAULT] = fault(BAD_UNIT, 0)
                break
            kind = data[begin] & 31
            if kind == SUPPLEMENTAL:
                row[C_START] |= _recovers_at_once(data, begin, end)
            if PARTITION_A <= kind <= PARTITION_C:
                plain = False
            if kind not in (SLICE, IDR_SLICE):
                continue
            place = read_slice_start(data, begin, end, all_rows, places, buffers, payload, words)
            if place < 0:
                row[C_FAULT] = place
                if place == fault(UNREAD_SLICE, -place >> 5):
                    row[C_REFERENCE] = header[H_REFERENCE]
                    if header[H_TYPE] != I or row[C_KIND] == NO_PICTURE:
                        row[C_KIND] = header[H_TYPE]
                continue
            if header[H_REDUNDANT]:
                continue
            q = all_rows[places[header[H_PICTURE_SET]]]
            if row[C_ROW] < 0:
                row[C_ROW] = places[header[H_PICTURE_SET]]
                row[C_IDR], row[C_REFERENCE] = header[H_IDR], header[H_REFERENCE]
                row[C_FRAME_NUM] = header[H_FRAME_NUM]
                top, bottom = begin_picture(header, q, decoded)
            elif header[H_FRAME_NUM] != row[C_FRAME_NUM] or header[H_IDR] != row[C_IDR]:
                row[C_FAULT] = fault(BAD_HEADER, 0)  # of another picture
                continue
            firsts += header[H_FIRST] == 0
            plain = plain and (row[C_KIND] == NO_PICTURE or row[C_KIND] == header[H_TYPE])
            row[C_START] |= header[H_IDR]
            if row[C_KIND] == NO_PICTURE or header[H_TYPE] == B or row[C_KIND] == I:
                row[C_KIND] = header[H_TYPE]
            fill_lists(header, q, min(top, bottom), decoded, modifications)
            stored = _store_lists(header, decoded, min(top, bottom), lists, used)
            if stored < 0:
                row[C_FAULT] = fault(BAD_HEADER, 0)
            else:
                used = stored
        if row[C_ROW] >= 0:
            q = all_rows[row[C_ROW]]
            row[C_ORDER] = end_picture(header, q, top, bottom, number, decoded, operations)
            row[C_EPOCH] = decoded.state[EPOCH]
        row[C_PLAIN] = plain and firsts == 1 and row[C_FAULT] == 0 and row[C_ROW] >= 0
        row[C_LISTS] = used
        decoded.state[6] += 1
    return ends.size, used
