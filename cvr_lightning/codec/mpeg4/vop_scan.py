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
from cvr_lightning.codec.container.pictures import Pictures
from cvr_lightning.codec.mpeg4.bitstream import B_VOP, I_VOP, kernel
from cvr_lightning.codec.mpeg4.headers import SequenceHeaders, group_seconds
from cvr_lightning.codec.mpeg4.vop_header import TYPES, VOP_START, next_vop

_GATHERED = 1 << 20
"""Size in bytes of a batch of packets."""
_KINDS = np.frombuffer(TYPES.encode() + b"N?", np.uint8)
_NOT_CODED, _UNREAD = 4, 5  # their indices among the kinds
_COLUMNS = 7
"""Of a pending VOP: kind, rounding, packet, offset, size, time, header."""
_ROW = 10
"""Of a packet: kind of its first VOP, kind of the decoded VOP, start, reference, other fields of that VOP."""
_NO_TIME = -1
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
        self._data: list[bytes] = []
        self._bytes = 0
        self._contexts: list[_Context] = []
        self._keyframes: list[bool] = []
        self._state = np.zeros(3, np.int64)
        self._waiting = np.empty((0, _COLUMNS), np.int64)
        self._rows: list[npt.NDArray[np.int64]] = []

    def add(self, data: bytes, keyframe: bool) -> None:
        """Add the next packet; ``keyframe`` is the container's flag."""
        context = self._context if data.startswith(VOP_START) else self._read_headers(data)
        self._data.append(data)
        self._contexts.append(context)
        self._keyframes.append(keyframe)
        self._bytes += len(data)
        if self._bytes >= _GATHERED:
            self._flush()

    def finish(self) -> Pictures:
        """Return the pictures of all packets."""
        self._flush()
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

    def _read_headers(self, data: bytes) -> _Context:
        """Read the headers before the packet's first VOP."""
        start = data.find(VOP_START)
        front = data if start < 0 else data[:start]
        if self._in_force.read(front) and (self._data or self._rows):  # the first one replaces the extradata
            self.headers.append(self._in_force.header)
        self.headers[-1] = self._in_force.header
        self._context = self._new_context()
        seconds = group_seconds(front)
        return self._context if seconds is None else self._context._replace(seconds=seconds)

    def _flush(self) -> None:
        if not self._data:
            return
        data = b"".join(self._data)
        ends = np.cumsum([len(packet) for packet in self._data], dtype=np.int64)
        contexts = np.array(self._contexts, np.int64)
        several = contexts[:, _PACKED].any()
        room = data.count(VOP_START) if several else len(ends)
        queue = np.concatenate([self._waiting, np.empty((room, _COLUMNS), np.int64)])
        rows = np.zeros((len(ends), _ROW), np.int64)
        packets = np.frombuffer(data, np.uint8), ends, contexts, np.array(self._keyframes, bool)
        head, tail = call(_scan, *packets, self._state, queue, len(self._waiting), rows)
        self._waiting = queue[head:tail].copy()
        self._rows.append(rows)
        self._data, self._bytes, self._contexts, self._keyframes = [], 0, [], []


@kernel
def _scan(data, ends, contexts, keyframes, state, queue, waiting, rows):  # type: ignore[no-untyped-def]
    """Fill one row per packet; returns the pending range of the queue.

    ``state`` holds the seconds of the last reference and of the one before it, which is the time base of
    B-VOPs (6.3.5), and the number of packets so far. The queue starts with ``waiting`` pending VOPs.
    """
    head, tail = 0, waiting
    begin = 0
    for p in range(ends.size):
        packet = data[begin : ends[p]]
        begin = ends[p]
        time_bits, resolution = contexts[p, _TIME_BITS], contexts[p, _RESOLUTION]
        if contexts[p, _TIME_CODE] != _NO_TIME:
            state[_SECONDS] = contexts[p, _TIME_CODE]
        number = state[_PACKETS]
        state[_PACKETS] += 1
        rows[p, 3] = 1
        if not time_bits:
            rows[p, 0], rows[p, 1], rows[p, 2] = _UNREAD, _UNREAD, keyframes[p]
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
