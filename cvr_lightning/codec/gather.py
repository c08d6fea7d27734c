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
    sizes: list[int] = []
    flags: list[tuple[bool, bool, bool]] = []
    contiguous = scanner is not None and _CONTIGUOUS & set(demuxer.container.format.name.split(","))
    with demuxer.buffer() as file:
        batches = _Batches(np.frombuffer(file, np.uint8), scanner)
        for packet, data, keyframe in demuxer.scan(keep=not contiguous):
            pts.append(packet.pts)
            dts.append(packet.dts)
            positions.append(packet.pos)
            sizes.append(len(data))
            flags.append((keyframe, packet.is_discard, packet.is_corrupt))
            if scanner:
                batches.add(data, positions, flags)
        places = batches.finish(positions, flags) if scanner else np.full(len(sizes), -1, np.int64)
        del batches  # the array that maps the file
    if not sizes:
        raise demuxer.error("it holds no packet of video")
    return Packets(
        _times(pts), _times(dts), _positions(positions), np.array(sizes, np.int64), places,
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
        scanner: Reads their headers.
    """

    def __init__(self, file: npt.NDArray[np.uint8], scanner: PictureScanner | None) -> None:
        self._file, self._scanner = file, scanner
        self._data = np.empty(BATCH_BYTES, np.uint8)
        self._view = self._data.data
        self._ends: list[int] = []
        self._used = 0
        self._found: list[npt.NDArray[np.int64]] = []
        self._last_end = np.zeros(1, np.int64)

    def add(
        self, data: memoryview, positions: list[int | None], flags: list[tuple[bool, bool, bool]]
    ) -> None:
        """Add a packet; the lists hold those of all packets including it."""
        size = len(data)
        if self._used + size > len(self._view):
            self._flush(positions[:-1], flags[:-1])
            if size > len(self._view):
                self._data = np.empty(size, np.uint8)
                self._view = self._data.data
        self._view[self._used : self._used + size] = data
        self._used += size
        self._ends.append(self._used)

    def finish(
        self, positions: list[int | None], flags: list[tuple[bool, bool, bool]]
    ) -> npt.NDArray[np.int64]:
        """File positions of the data of all packets."""
        self._flush(positions, flags)
        return np.concatenate([np.empty(0, np.int64), *self._found])

    def _flush(self, positions: list[int | None], flags: list[tuple[bool, bool, bool]]) -> None:
        if not self._ends:
            return
        data, ends, count = self._data[: self._used], np.array(self._ends, np.int64), len(self._ends)
        places = np.empty(count, np.int64)
        call(_find, self._file, data, ends, _positions(positions[-count:]), self._last_end, places)
        self._found.append(places)
        assert self._scanner is not None
        self._scanner.scan(data, ends, np.array([flag[0] for flag in flags[-count:]], bool))
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
