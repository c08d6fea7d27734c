"""Reference lists of slices (ITU-T H.264, 8.2.4)."""

from __future__ import annotations

from cvr_lightning.codec.bitstream.kernels import subroutine
from cvr_lightning.codec.h264.references import (
    FRAME_NUM,
    LONG,
    LONG_TERM,
    MARK,
    MISSING,
    ORDER,
    PICTURE,
    ROOM,
    SHORT,
    find,
    wrapped,
)
from cvr_lightning.codec.h264.slice_header import (
    H_FRAME_NUM,
    H_MODIFIED_0,
    H_REFERENCES_0,
    H_TYPE,
    MOST_REFERENCES,
    Q_FRAME_NUM_BITS,
    Q_ORDER_TYPE,
    B,
    P,
)


@subroutine
def _sort(rows, first, count, keys):  # type: ignore[no-untyped-def]
    """Insertion sort of ``rows[first:count]`` by ascending ``keys`` of each row."""
    for i in range(first + 1, count):
        row = rows[i]
        k = i
        while k > first and keys[rows[k - 1]] > keys[row]:
            rows[k] = rows[k - 1]
            k -= 1
        rows[k] = row


@subroutine
def _initial_list(header, q, order, decoded, which):  # type: ignore[no-untyped-def]
    """Initialize a list (8.2.4.2) in ``decoded.scratch[0]``; returns its length."""
    pictures, rows, keys = decoded.pictures, decoded.scratch[0], decoded.scratch[1]
    largest, current = 1 << q[Q_FRAME_NUM_BITS], header[H_FRAME_NUM]
    count = 0
    if header[H_TYPE] == P:
        for i in range(ROOM):
            if pictures[i, MARK] == SHORT:
                keys[i] = -wrapped(pictures[i, FRAME_NUM], current, largest)
                rows[count] = i
                count += 1
        _sort(rows, 0, count, keys)
    else:
        for after in range(2):  # pictures on one side of this one in output order, then on the other
            first = count
            for i in range(ROOM):
                exists = pictures[i, PICTURE] != MISSING or q[Q_ORDER_TYPE] != 0
                later = pictures[i, ORDER] > order
                if pictures[i, MARK] == SHORT and exists and later == (after != which):
                    keys[i] = abs(pictures[i, ORDER] - order)
                    rows[count] = i
                    count += 1
            _sort(rows, first, count, keys)
    first = count
    for i in range(ROOM):
        if pictures[i, MARK] == LONG_TERM:
            keys[i] = pictures[i, LONG]
            rows[count] = i
            count += 1
    _sort(rows, first, count, keys)
    return count


@subroutine
def _modify(header, q, decoded, modifications, which, places):  # type: ignore[no-untyped-def]
    """Modify a list of rows (8.2.4.3)."""
    pictures = decoded.pictures
    largest, current = 1 << q[Q_FRAME_NUM_BITS], header[H_FRAME_NUM]
    size = header[H_REFERENCES_0 + which]
    predicted = current
    for n in range(min(header[H_MODIFIED_0 + which], size)):
        command, value = modifications[which, n, 0], modifications[which, n, 1]
        if command == 2:
            row = find(pictures, LONG_TERM, value, current, largest)
        else:
            predicted += value + 1 if command else -value - 1
            predicted %= largest
            number = predicted - largest if predicted > current else predicted
            row = find(pictures, SHORT, number, current, largest)
        for k in range(size, n, -1):
            places[k] = places[k - 1]
        places[n] = row
        k = n + 1
        for i in range(n + 1, size + 1):
            if places[i] != row:
                places[k] = places[i]
                k += 1


@subroutine
def fill_lists(header, q, order, decoded, modifications):  # type: ignore[no-untyped-def]
    """Fill the reference lists of a slice (8.2.4)."""
    pictures, rows = decoded.pictures, decoded.scratch[0]
    lists = decoded.lists
    previous = 0
    for which in range(1 + header[H_TYPE] if header[H_TYPE] <= B else 0):
        count = _initial_list(header, q, order, decoded, which)
        if which == 1 and count > 1 and count == previous:
            same = True
            for i in range(count):
                same = same and decoded.kinds[0, i] == rows[i]
            if same:
                rows[0], rows[1] = rows[1], rows[0]
        places = lists[which]
        for i in range(MOST_REFERENCES + 1):
            places[i] = rows[i] if i < count else -1
            if which == 0:
                decoded.kinds[0, i] = places[i]
        previous = count
        for i in range(header[H_REFERENCES_0 + which], MOST_REFERENCES + 1):
            places[i] = -1
        _modify(header, q, decoded, modifications, which, places)
    for which in range(1 + header[H_TYPE] if header[H_TYPE] <= B else 0):
        for i in range(header[H_REFERENCES_0 + which]):
            row = lists[which, i]
            exists = row >= 0
            lists[which, i] = pictures[row, PICTURE] if exists else MISSING
            decoded.kinds[which, i] = exists and pictures[row, MARK] == LONG_TERM
            decoded.orders[which, i] = pictures[row, ORDER] if exists else 0
