"""Keys of packets, by which a packet is recognized after a seek."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from av.packet import Packet
from av.video.stream import VideoStream

NO_TIMESTAMP = -(1 << 63)
"""Represents a timestamp that the container does not provide."""

PacketKey = tuple[int, int, int]
"""Identifies a packet within its file: (dts, position in the file, size)."""


def packet_key(packet: Packet[VideoStream]) -> PacketKey:
    """The key of a packet."""
    dts = NO_TIMESTAMP if packet.dts is None else packet.dts
    return dts, -1 if packet.pos is None else packet.pos, packet.size


@dataclass(frozen=True, eq=False)
class PacketKeys:
    """The keys of all packets of a file: three columns of P rows."""

    dts: npt.NDArray[np.int64]
    positions: npt.NDArray[np.int64]
    sizes: npt.NDArray[np.int64]

    def __len__(self) -> int:
        """Number of packets."""
        return len(self.dts)

    def __getitem__(self, number: int) -> PacketKey:
        """The key of a packet."""
        return int(self.dts[number]), int(self.positions[number]), int(self.sizes[number])

    def find(self, key: PacketKey) -> int:
        """Number of the packet with a key, -1 unless exactly one has it."""
        dts, position, size = key
        found = np.flatnonzero((self.dts == dts) & (self.positions == position) & (self.sizes == size))
        return int(found[0]) if len(found) == 1 else -1
