"""The packets of a file: container metadata, positions in the file, and headers, in one pass.

Where the container lists its packets, only their headers are read. Elsewhere, packets are compared with the
file as they come, and their headers read in the mapped file: none is copied.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, cycle, islice
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from av.packet import Packet
from av.video.stream import VideoStream

from cvr_lightning.codec.bitstream.compiling import call
from cvr_lightning.codec.bitstream.kernels import kernel
from cvr_lightning.codec.bitstream.words import byte_at, same_memory
from cvr_lightning.codec.container.demux import Demuxer
from cvr_lightning.codec.container.keys import NO_TIMESTAMP, PacketKeys
from cvr_lightning.codec.container.pictures import PictureScanner
from cvr_lightning.codec.packet_table import FIRST_PACKETS, PacketTable, packet_table

BATCH_BYTES = 4 << 20
"""The headers of packets are read together in batches of about this size."""
_PACKET_BYTES = 1024  # of a batch besides its data
_CONTIGUOUS = frozenset({"mov", "matroska", "avi"})
"""Containers in which the data of a packet lie in one piece."""
_PROBE_BYTES = 64
_NEAR_BYTES = 4096
_DEFAULTS = (NO_TIMESTAMP, NO_TIMESTAMP, -1, 0, -1)
"""Stand for numbers of a packet that are None."""


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
    def keys(self) -> PacketKeys:
        """Keys that identify each packet."""
        return PacketKeys(self.dts, self.positions, self.sizes)


def gather(demuxer: Demuxer, scanner: PictureScanner | None) -> Packets:
    """Read all packets of a freshly opened file, and pass their data to the scanner.

    Raises:
        UnreadableVideoError: The container is damaged, or holds no packet.
        UnsupportedStreamError: The video is encrypted.
    """
    contiguous = scanner is not None and _CONTIGUOUS & set(demuxer.container.format.name.split(","))
    packets = demuxer.scan(keep=not contiguous)
    first = list(islice(packets, FIRST_PACKETS))
    with demuxer.buffer() as file:
        data = np.frombuffer(file, np.uint8)
        if scanner and (table := packet_table(demuxer, first, data)):
            return _from_table(table, data, scanner)
        batches = list(_Reader(data, scanner).read(chain(first, packets)))
    if not batches:
        raise demuxer.error("it holds no packet of video")
    return Packets(*map(np.concatenate, zip(*batches, strict=True)))


def _from_table(table: PacketTable, file: npt.NDArray[np.uint8], scanner: PictureScanner) -> Packets:
    """Read only the headers of the packets."""
    pts, dts, positions, sizes, keyframes, discarded = table
    step = BATCH_BYTES // _PACKET_BYTES
    for batch in (slice(first, first + step) for first in range(0, len(sizes), step)):
        scanner.scan(file, positions[batch], positions[batch] + sizes[batch])
    corrupt = np.zeros(len(sizes), bool)
    return Packets(pts, dts, positions, sizes, positions, keyframes, discarded, corrupt)


class _Reader:
    """Reads packets in batches: their metadata, their positions in the file, their headers.

    A demuxer's position may be that of the chunk or block header before the packet; containers may also
    compress, interleave or rewrite packets.

    Args:
        file: (bytes,) uint8, the content of the file.
        scanner: Reads their headers; without one, positions are not determined.
    """

    def __init__(self, file: npt.NDArray[np.uint8], scanner: PictureScanner | None) -> None:
        self._file, self._scanner = file, scanner

    def read(self, packets: Iterable[Packet[VideoStream]]) -> Iterator[Packets]:
        """Read all packets; yields batches."""
        base, length = self._file.ctypes.data, len(self._file)
        call(_find_place, base, length, 0, base, 0)  # compiled before the first packet
        numbers, flags, loose = list[int | None](), list[bool](), dict[int, bytes]()
        place, end, held = -1, 0, 0
        for packet in packets:
            position, size = packet.pos, packet.size
            if self._scanner is not None:
                near = end if position is None else position
                place = _find_place(base, length, near, packet.buffer_ptr, size)
                if place < 0:
                    loose[len(numbers) // len(_DEFAULTS)] = bytes(packet)
                else:
                    end = place + size
            numbers += packet.pts, packet.dts, position, size, place
            flags += packet.is_keyframe, packet.is_discard, packet.is_corrupt
            held += size + _PACKET_BYTES
            if held >= BATCH_BYTES:
                yield self._batch(numbers, flags, loose)
                held = 0
                for part in (numbers, flags, loose):
                    part.clear()
        if numbers:
            yield self._batch(numbers, flags, loose)

    def _batch(
        self, numbers: Sequence[int | None], flags: Sequence[bool], loose: Mapping[int, bytes]
    ) -> Packets:
        """Read the headers of some packets.

        Args:
            numbers: Of each packet: display and decoding time, position, size, place in the file.
            flags: Of each packet: whether it is a keyframe, discarded, corrupt.
            loose: The data of packets that have no place in the file.
        """
        pts, dts, positions, sizes, places = _columns(numbers)
        keyframes, discarded, corrupt = np.ascontiguousarray(np.array(flags).reshape(-1, 3).T)
        if self._scanner is not None:
            data, begins = self._file, places
            if loose:
                spans = enumerate(zip(places.tolist(), sizes.tolist(), strict=True))
                parts = [
                    loose[n] if at < 0 else self._file[at : at + size].tobytes() for n, (at, size) in spans
                ]
                data, begins = np.frombuffer(b"".join(parts), np.uint8), np.cumsum(sizes) - sizes
            self._scanner.scan(data, begins, begins + sizes)
        return Packets(pts, dts, positions, sizes, places, keyframes, discarded, corrupt)


def _columns(numbers: Sequence[int | None]) -> npt.NDArray[np.int64]:
    """(5, P) the numbers of each packet, with the default of each column in place of None."""
    try:
        packed = struct.pack(f"{len(numbers)}q", *numbers)
    except struct.error:  # there are Nones
        pairs = zip(numbers, cycle(_DEFAULTS), strict=False)
        packed = struct.pack(f"{len(numbers)}q", *(other if one is None else one for one, other in pairs))
    return np.ascontiguousarray(np.frombuffer(packed, np.int64).reshape(-1, len(_DEFAULTS)).T)


@kernel
def _find_place(file, length, near, packet, size):  # type: ignore[no-untyped-def]
    """Position of a packet in the file, -1 if its data are not found near the demuxer's position.

    Args:
        file: Address of the file in memory.
        length: Its bytes.
        near: The demuxer's position.
        packet: Address of the packet's data.
        size: Their bytes.
    """
    probe = min(size, _PROBE_BYTES)
    stop = min(near + _NEAR_BYTES + _PROBE_BYTES, length) - probe
    for place in range(max(near, 0), stop + 1):
        start = file + place
        if byte_at(start) == byte_at(packet) and same_memory(start, packet, probe):
            return place if place + size <= length and same_memory(start, packet, size) else -1
    return -1
