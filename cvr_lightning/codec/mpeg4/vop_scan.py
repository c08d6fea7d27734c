"""Scans the VOPs of a whole stream for its packet index.

Packed bitstreams are handled as in FFmpeg: a packet contains a P-VOP and the B-VOP shown before it, followed
by a placeholder packet with a VOP that is not coded. Each packet decodes to the oldest pending VOP.

Packets are scanned in batches; only the headers before the first VOP are read packet by packet.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from cvr_lightning.codec.bitstream.compiling import call
from cvr_lightning.codec.bitstream.kernels import kernel
from cvr_lightning.codec.bitstream.words import find_start_code
from cvr_lightning.codec.container.pictures import Pictures
from cvr_lightning.codec.mpeg4.bitstream import B_VOP, I_VOP
from cvr_lightning.codec.mpeg4.headers import GROUP_START, SequenceHeaders, split_group
from cvr_lightning.codec.mpeg4.vop_header import TYPES, next_vop, vop_start

_KINDS = np.frombuffer(TYPES.encode() + b"N?", np.uint8)
_NOT_CODED, _UNREAD = 4, 5  # their indices among the kinds
_COLUMNS = 7
"""Of a pending VOP: kind, rounding, packet, offset, size, time, header."""
_ROW = 10
"""Of a packet: kind of its first VOP, kind of the decoded VOP, start, reference, other fields of that VOP."""
_NO_TIME = -1
_GROUP_CODE = GROUP_START[3]
_GROUP_BYTES = len(GROUP_START) + 3
_SECONDS, _PAST_SECONDS, _PACKETS = range(3)
_TIME_BITS, _RESOLUTION, _PACKED, _HEADER, _TIME_CODE = range(5)  # the columns of contexts


class _Context(NamedTuple):
    """Parameters for reading the VOPs of a packet.

    Attributes:
        time_bits: Length of vop_time_increment in bits, 0 before the first VOL.
        resolution: Ticks per second.
        packed: All VOPs of the packet are used, not only the first.
        header: Index of the current sequence header.
        seconds: Time code before the packet's first VOP, :data:`_NO_TIME` if absent.
    """

    time_bits: int
    resolution: int
    packed: bool
    header: int
    seconds: int = _NO_TIME


class VopScanner:
    """Reads the headers of MPEG-4 Part 2 packets.

    Args:
        extradata: The container's extradata.

    Attributes:
        headers: The sequence headers of the stream.
    """

    def __init__(self, extradata: bytes) -> None:
        self.headers = [extradata]
        self._in_force = SequenceHeaders(extradata)
        self._context = self._new_context()
        self._last = b""
        self._state = np.zeros(3, np.int64)
        self._waiting = np.empty((0, _COLUMNS), np.int64)
        self._rows: list[npt.NDArray[np.int64]] = []

    def scan(
        self, data: npt.NDArray[np.uint8], begins: npt.NDArray[np.int64], ends: npt.NDArray[np.int64]
    ) -> None:
        """Read the next packets."""
        contexts = self._read_contexts(data, begins, ends)
        room = call(_count_vops, data, begins, ends) if contexts[:, _PACKED].any() else len(ends)
        queue = np.concatenate([self._waiting, np.empty((room, _COLUMNS), np.int64)])
        rows = np.zeros((len(ends), _ROW), np.int64)
        head, tail = call(_scan, data, begins, ends, contexts, self._state, queue, len(self._waiting), rows)
        self._waiting = queue[head:tail].copy()
        self._rows.append(rows)

    def finish(self) -> Pictures:
        """Return the pictures of all packets."""
        table = np.concatenate(self._rows) if self._rows else np.empty((0, _ROW), np.int64)
        first, given, starts, reference, rounding, *columns = np.ascontiguousarray(table.T)
        gives = np.where(given == _NOT_CODED, 0, _KINDS[given])
        return Pictures(
            _KINDS[first].view("S1"),
            gives.astype(np.uint8).view("S1"),
            starts.astype(bool),
            reference.astype(bool),
            rounding.astype(np.uint8),
            *columns,
        )

    def _new_context(self) -> _Context:
        vol = self._in_force.vol
        time_bits, resolution = (0, 0) if vol is None else (vol.time_bits, vol.resolution)
        return _Context(time_bits, resolution, self._in_force.packed, len(self.headers) - 1)

    def _read_headers(self, front: bytes, began: bool) -> _Context:
        """Read the headers before a packet's first VOP; ``began`` if there were packets before it."""
        headers, seconds = split_group(front)
        if headers and headers != self._last:  # else they repeat themselves before each I-frame
            self._last = headers
            if self._in_force.read(headers) and began:  # the first one replaces the extradata
                self.headers.append(self._in_force.header)
            self.headers[-1] = self._in_force.header
            self._context = self._new_context()
        return self._context if seconds is None else self._context._replace(seconds=seconds)

    def _read_contexts(
        self, data: npt.NDArray[np.uint8], begins: npt.NDArray[np.int64], ends: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.int64]:
        """Parameters of each packet; those that begin with a VOP keep the ones in force."""
        fronts = np.empty((len(ends), 4), np.int64)
        fronts = fronts[: call(_find_fronts, data, begins, ends, fronts)]
        timed = fronts[:, 3] != _NO_TIME
        found, firsts = [self._context], [0]
        for packet, begin, end, _ in fronts[~timed].tolist():
            found += self._read_headers(data[begin:end].tobytes(), bool(packet or self._rows)), self._context
            firsts += packet, packet + 1
        counts = np.diff(firsts, append=len(ends))
        contexts = np.repeat(np.array(found, np.int64), counts, axis=0)
        contexts[fronts[timed, 0], _TIME_CODE] = fronts[timed, 3]
        return contexts


@kernel
def _find_fronts(data, begins, ends, fronts):  # type: ignore[no-untyped-def]
    """List (packet, begin, end, seconds) of what precedes the first VOP of packets, where anything does.

    The seconds are the time code of a front that is only the header of a group of VOPs (6.2.4): encoders
    write one before each I-frame.
    """
    count = 0
    for p in range(len(ends)):
        packet = data[begins[p] : ends[p]]
        end = vop_start(packet, 0)
        if end:
            fronts[count, 0], fronts[count, 1], fronts[count, 2] = p, begins[p], begins[p] + end
            fronts[count, 3] = _NO_TIME
            if end == _GROUP_BYTES and find_start_code(packet, 0) == 0 and packet[3] == _GROUP_CODE:
                bits = np.int64(packet[4]) << 16 | np.int64(packet[5]) << 8 | np.int64(packet[6])
                fronts[count, 3] = (bits >> 6 & 63) + 60 * ((bits >> 13 & 63) + 60 * (bits >> 19))
            count += 1
    return count


@kernel
def _count_vops(data, begins, ends):  # type: ignore[no-untyped-def]
    """An upper bound of the VOPs in all packets."""
    count = 0
    for p in range(len(ends)):
        packet = data[begins[p] : ends[p]]
        at = vop_start(packet, 0)
        while at < packet.size:
            count += 1
            at = vop_start(packet, at + 4)
    return count


@kernel
def _scan(  # type: ignore[no-untyped-def]
    data, begins, ends, contexts, state, queue, waiting, rows
):
    """Fill one row per packet; returns the pending range of the queue.

    ``state`` holds the seconds of the last reference and of the one before it, which is the time base of
    B-VOPs (6.3.5), and the number of packets so far. The queue starts with ``waiting`` pending VOPs.
    """
    head, tail = 0, waiting
    for p in range(ends.size):
        packet = data[begins[p] : ends[p]]
        time_bits, resolution = contexts[p, _TIME_BITS], contexts[p, _RESOLUTION]
        if contexts[p, _TIME_CODE] != _NO_TIME:
            state[_SECONDS] = contexts[p, _TIME_CODE]
        number = state[_PACKETS]
        state[_PACKETS] += 1
        rows[p, 3] = 1
        if not time_bits:
            rows[p, 0], rows[p, 1] = _UNREAD, _UNREAD
            continue
        clean = head == tail
        first = -1
        at = 0
        while at < packet.size and (first < 0 or contexts[p, _PACKED]):
            start, at, whole, coded, kind, later, ticks, rounding = next_vop(packet, at, time_bits)[:8]
            if not whole:
                break
            if first < 0:
                first = kind if coded else _NOT_CODED
            if not coded and head < tail:
                continue  # a placeholder
            if coded and kind == B_VOP:
                time = (state[_PAST_SECONDS] + later) * resolution + ticks
            else:
                state[_PAST_SECONDS] = state[_SECONDS]
                state[_SECONDS] += later
                time = state[_SECONDS] * resolution + ticks
            if not coded:
                continue
            queue[tail, 0], queue[tail, 1], queue[tail, 2], queue[tail, 3] = kind, rounding, number, start
            queue[tail, 4], queue[tail, 5], queue[tail, 6] = at - start, time, contexts[p, _HEADER]
            tail += 1
        rows[p, 0] = _NOT_CODED if first < 0 else first
        rows[p, 1] = _NOT_CODED
        if head < tail:
            rows[p, 1] = queue[head, 0]
            for i in range(1, _COLUMNS):
                rows[p, 3 + i] = queue[head, i]
            head += 1
        rows[p, 2] = clean and first == I_VOP
        rows[p, 3] = first != B_VOP
    return head, tail
