"""The packets of a file: container metadata, positions in the file, and headers, in one pass."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from cvr_lightning.codec.bitstream.compiling import call
from cvr_lightning.codec.bitstream.kernels import kernel
from cvr_lightning.codec.bitstream.words import same_bytes
from cvr_lightning.codec.container.demux import NO_TIMESTAMP, Demuxer, PacketKey
from cvr_lightning.codec.container.pictures import PictureScanner

BATCH_BYTES = 1 << 20
"""Packets are scanned together in batches of this size, or alone if they are larger."""
_CONTIGUOUS = frozenset({"mov", "matroska", "avi"})
"""Containers in which the data of a packet lie in one piece."""
_PROBE_BYTES = 64
_NEAR_BYTES = 4096


class Packets(NamedTuple):
    """Container metadata of each packet.

    Attributes:
        pts: Display times.
        dts: Decoding times.
        positions: File positions reported by the demuxer, -1 if unknown.
        sizes: Sizes in bytes.
        places: File positions of the data, -1 if not determined.
        keyframes: The container's keyframe flags.
        discarded: The frame is decoded but not shown.
        corrupt: Bytes are known to be missing.
    """

    pts: npt.NDArray[np.int64]
    dts: npt.NDArray[np.int64]
    positions: npt.NDArray[np.int64]
    sizes: npt.NDArray[np.int64]
    places: npt.NDArray[np.int64]
    keyframes: npt.NDArray[np.bool_]
    discarded: npt.NDArray[np.bool_]
    corrupt: npt.NDArray[np.bool_]

    @property
    def keys(self) -> list[PacketKey]:
        """Keys that identify each packet."""
        return list(zip(self.dts.tolist(), self.positions.tolist(), self.sizes.tolist(), strict=True))


def gather(demuxer: Demuxer, scanner: PictureScanner | None) -> Packets:
    """Read all packets of a freshly opened file, and pass their data to the scanner.

    Raises:
        UnreadableVideoError: The container is damaged, or holds no packet.
        UnsupportedStreamError: The video is encrypted.
    """
    pts: list[int | None] = []
    dts: list[int | None] = []
    positions: list[int | None] = []
    flags: list[tuple[bool, bool, bool]] = []
    contiguous = scanner is not None and _CONTIGUOUS & set(demuxer.container.format.name.split(","))
    with demuxer.buffer() as file:
        batches = _Batches(np.frombuffer(file, np.uint8), scanner)
        for packet, data, keyframe in demuxer.scan(keep=not contiguous):
            if not batches.add(data):
                batches.flush(positions, flags)
                batches.add(data)
            pts.append(packet.pts)
            dts.append(packet.dts)
            positions.append(packet.pos)
            flags.append((keyframe, packet.is_discard, packet.is_corrupt))
        batches.flush(positions, flags)
        sizes, places = batches.sizes, batches.places
    if not flags:
        raise demuxer.error("it holds no packet of video")
    return Packets(
        _times(pts), _times(dts), _positions(positions), np.concatenate(sizes), np.concatenate(places),
        *np.array(flags, bool).T,
    )  # fmt: skip


def _times(values: list[int | None]) -> npt.NDArray[np.int64]:
    return np.array([NO_TIMESTAMP if value is None else value for value in values], np.int64)


def _positions(values: list[int | None]) -> npt.NDArray[np.int64]:
    return np.array([-1 if value is None else value for value in values], np.int64)


class _Batches:
    """Collects packets in one buffer, then scans them and finds their positions together.

    A demuxer's position may be that of the chunk or block header before the packet; containers may also
    compress, interleave or rewrite packets.

    Args:
        file: (bytes,) uint8, the content of the file.
        scanner: Reads their headers; without one, positions are not determined.

    Attributes:
        sizes: Sizes of the packets, per batch.
        places: Positions of their data, per batch.
    """

    def __init__(self, file: npt.NDArray[np.uint8], scanner: PictureScanner | None) -> None:
        self.sizes: list[npt.NDArray[np.int64]] = []
        self.places: list[npt.NDArray[np.int64]] = []
        self._file, self._scanner = file, scanner
        self._data = np.empty(BATCH_BYTES, np.uint8)
        self._view = self._data.data
        self._ends: list[int] = []
        self._used = 0
        self._last_end = np.zeros(1, np.int64)

    def add(self, data: memoryview) -> bool:
        """Add a packet; false if the batch must be flushed before."""
        end = self._used + len(data)
        if end > len(self._view):
            if self._ends:
                return False
            self._data = np.empty(end, np.uint8)
            self._view = self._data.data
        self._view[self._used : end] = data
        self._used = end
        self._ends.append(end)
        return True

    def flush(self, positions: list[int | None], flags: list[tuple[bool, bool, bool]]) -> None:
        """Read the packets of the batch; the lists hold those of all packets so far."""
        count = len(self._ends)
        if not count:
            return
        ends, places = np.array(self._ends, np.int64), np.full(count, -1, np.int64)
        if self._scanner is not None:
            data = self._data[: self._used]
            call(_find, self._file, data, ends, _positions(positions[-count:]), self._last_end, places)
            self._scanner.scan(data, ends, np.array([flag[0] for flag in flags[-count:]], bool))
        self.sizes.append(np.diff(ends, prepend=0))
        self.places.append(places)
        self._ends, self._used = [], 0


@kernel
def _find(file, data, ends, positions, last_end, places):  # type: ignore[no-untyped-def]
    """Position of each packet in the file, -1 if its data are not found near the demuxer's position."""
    begin = 0
    for n in range(len(ends)):
        size = ends[n] - begin
        start = positions[n] if positions[n] >= 0 else last_end[0]
        probe = min(size, _PROBE_BYTES)
        stop = min(start + _NEAR_BYTES + _PROBE_BYTES, len(file)) - probe
        places[n] = -1
        while start <= stop:
            if file[start] == data[begin] and same_bytes(file, start, data, begin, probe):
                if start + size <= len(file) and same_bytes(file, start, data, begin, size):
                    places[n] = start
                    last_end[0] = start + size
                break
            start += 1
        begin = ends[n]
