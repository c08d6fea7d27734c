"""Content of the packets of a stream, from their headers."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt


class Pictures(NamedTuple):
    """The pictures of P packets in file order; each column is (P,).

    The columns from ``rounding`` on describe the picture that a packet decodes to. They are zero if there is
    none, and for codecs other than MPEG-4 Part 2 and H.264; see
    :class:`~cvr_lightning.codec.container.index.PacketIndex`.

    Attributes:
        types: S1, type of the first picture of the packet.
        gives: S1, type of the frame that the packet decodes to, empty if none.
        starts: bool, decoding can start at this packet.
        reference: bool, false if the codec declares that no picture refers to this one.
        rounding: uint8, vop_rounding_type.
        sources: int64, the packet that contains the VOP.
        offsets: int64, byte offset of the VOP in that packet.
        sizes: int64, size of the VOP in bytes.
        times: int64, time of the VOP in ticks of vop_time_increment.
        headers: int64, index of the sequence header in effect.
        lists: int64, reference lists of H.264 slices, see ``PacketIndex.reference_lists``.
        list_ends: int64, end of each packet's entries in ``lists``; empty for other codecs.
    """

    types: npt.NDArray[np.bytes_]
    gives: npt.NDArray[np.bytes_]
    starts: npt.NDArray[np.bool_]
    reference: npt.NDArray[np.bool_]
    rounding: npt.NDArray[np.uint8]
    sources: npt.NDArray[np.int64]
    offsets: npt.NDArray[np.int64]
    sizes: npt.NDArray[np.int64]
    times: npt.NDArray[np.int64]
    headers: npt.NDArray[np.int64]
    lists: npt.NDArray[np.int64] = np.empty(0, np.int64)
    list_ends: npt.NDArray[np.int64] = np.empty(0, np.int64)

    def lists_of(self, packets: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """The concatenated reference lists of some packets, and the end of each packet's entries."""
        if not len(self.list_ends):
            return self.lists, np.zeros(len(packets), np.int64)
        begins = np.concatenate([self.list_ends[:1] * 0, self.list_ends[:-1]])[packets]
        sizes = self.list_ends[packets] - begins
        ends = np.cumsum(sizes)
        places = np.arange(int(sizes.sum())) + np.repeat(begins - ends + sizes, sizes)
        return self.lists[places], ends


class PictureScanner(Protocol):
    """Reads the headers of packets."""

    def scan(
        self, data: npt.NDArray[np.uint8], begins: npt.NDArray[np.int64], ends: npt.NDArray[np.int64]
    ) -> None:
        """Read the next packets.

        Args:
            data: Holds their data.
            begins: (P,) where each begins.
            ends: (P,) where each ends.
        """

    def finish(self) -> Pictures:
        """Return the pictures of all packets."""


def pictures(
    types: npt.NDArray[np.bytes_], starts: npt.NDArray[np.bool_], reference: npt.NDArray[np.bool_]
) -> Pictures:
    """Build the pictures of codecs without VOP columns; type N decodes to no frame."""
    gives = np.where(types == b"N", b"", types).astype("S1")
    nothing = np.zeros(len(types), np.int64)
    return Pictures(types, gives, starts, reference, nothing.astype(np.uint8), *5 * (nothing,))
