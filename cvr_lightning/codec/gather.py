"""The packets of a file: container metadata, positions in the file, and headers, in one pass."""

from __future__ import annotations

import io
from collections.abc import Sequence
from itertools import cycle
from typing import NamedTuple, cast

import numpy as np
import numpy.typing as npt

from cvr_lightning.codec.bitstream.compiling import call
from cvr_lightning.codec.bitstream.kernels import kernel
from cvr_lightning.codec.bitstream.words import same_bytes
from cvr_lightning.codec.container.demux import NO_TIMESTAMP, Demuxer, PacketKey
from cvr_lightning.codec.container.pictures import PictureScanner

BATCH_BYTES = 1 << 20
"""Packets are read together in batches of about this size."""
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
    contiguous = scanner is not None and _CONTIGUOUS & set(demuxer.container.format.name.split(","))
    batches: list[Packets] = []
    with demuxer.buffer() as file:
        reader = _Reader(np.frombuffer(file, np.uint8), scanner)
        content, metadata = io.BytesIO(), list[int | None]()
        for packet in demuxer.scan(keep=not contiguous):
            content.write(packet)
            metadata += (
                packet.pts, packet.dts, packet.pos, packet.size,
                packet.is_keyframe, packet.is_discard, packet.is_corrupt,
            )  # fmt: skip
            if content.tell() >= BATCH_BYTES:
                batches.append(reader.read(metadata, content.getbuffer()))
                content.seek(0)
                metadata.clear()
        if metadata:
            batches.append(reader.read(metadata, content.getbuffer()))
    if not batches:
        raise demuxer.error("it holds no packet of video")
    return Packets(*map(np.concatenate, zip(*batches, strict=True)))


class _Reader:
    """Reads batches of packets: their metadata, their positions in the file, their headers.

    A demuxer's position may be that of the chunk or block header before the packet; containers may also
    compress, interleave or rewrite packets.

    Args:
        file: (bytes,) uint8, the content of the file.
        scanner: Reads their headers; without one, positions are not determined.
    """

    def __init__(self, file: npt.NDArray[np.uint8], scanner: PictureScanner | None) -> None:
        self._file, self._scanner = file, scanner
        self._last_end = np.zeros(1, np.int64)

    def read(self, metadata: Sequence[int | None], content: memoryview) -> Packets:
        """Read the next packets.

        Args:
            metadata: Of each packet: display and decoding time, position, size, whether it is a keyframe,
                discarded, corrupt.
            content: Their data, one after the other, maybe followed by other bytes.
        """
        pts, dts, positions, sizes, keyframes, discarded, corrupt = _columns(metadata)
        places = np.full_like(sizes, -1)
        flags = keyframes.astype(bool)
        if self._scanner is not None:
            ends = np.cumsum(sizes)
            data = np.frombuffer(content, np.uint8, ends[-1])
            call(_find, self._file, data, ends, positions, self._last_end, places)
            self._scanner.scan(data, ends, flags)
        return Packets(
            pts, dts, positions, sizes, places, flags, discarded.astype(bool), corrupt.astype(bool)
        )


def _columns(metadata: Sequence[int | None]) -> npt.NDArray[np.int64]:
    """(7, P) the metadata of packets, with the default of each column in place of None."""
    try:
        values = np.fromiter(cast(Sequence[int], metadata), np.int64, len(metadata))
    except TypeError:  # there are Nones
        defaults = cycle((NO_TIMESTAMP, NO_TIMESTAMP, -1, 0, 0, 0, 0))
        pairs = zip(metadata, defaults, strict=False)
        values = np.array([default if value is None else value for value, default in pairs], np.int64)
    return np.ascontiguousarray(values.reshape(-1, 7).T)


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
