"""What the packets of a stream hold, by their own headers."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt


class Pictures(NamedTuple):
    """The pictures of P packets in file order, (P,) each.

    The columns from ``rounding`` on are of the picture that a packet decodes to, zero in other than MPEG-4
    Part 2 and H.264 video and where it decodes to none; see
    :class:`~cvr_lightning.codec.container.index.PacketIndex`.

    Attributes:
        types: S1, type of the picture that the packet begins with.
        gives: S1, type of the frame that it decodes to, empty where it gives none.
        starts: bool, decoding can begin here.
        reference: bool, false where the codec says that no picture refers to this one.
        rounding: uint8, vop_rounding_type.
        sources: int64, the packet that holds the VOP.
        offsets: int64, byte of that packet at which it begins.
        sizes: int64, its bytes.
        times: int64, its time in ticks of vop_time_increment.
        headers: int64, which of the sequence headers is in force.
        lists: int64, reference lists of the slices of H.264, see ``PacketIndex.reference_lists``.
        list_ends: int64, where in ``lists`` those of each packet end; empty in other video.
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
        """The reference lists of some packets one behind the other, and where those of each end."""
        if not len(self.list_ends):
            return self.lists, np.zeros(len(packets), np.int64)
        begins = np.concatenate([self.list_ends[:1] * 0, self.list_ends[:-1]])
        spans = [self.lists[begins[packet] : self.list_ends[packet]] for packet in packets.tolist()]
        ends = np.cumsum([len(span) for span in spans], dtype=np.int64)
        return np.concatenate([self.lists[:0], *spans]), ends


class PictureScanner(Protocol):
    """Reads the headers of packets."""

    def add(self, data: bytes, keyframe: bool) -> None:
        """Take the next packet; ``keyframe`` is the container's mark."""

    def finish(self) -> Pictures:
        """What all packets hold."""


def pictures(
    types: npt.NDArray[np.bytes_], starts: npt.NDArray[np.bool_], reference: npt.NDArray[np.bool_]
) -> Pictures:
    """Pictures of other than MPEG-4 Part 2 video; a type N gives no frame."""
    gives = np.where(types == b"N", b"", types).astype("S1")
    nothing = np.zeros(len(types), np.int64)
    return Pictures(types, gives, starts, reference, nothing.astype(np.uint8), *5 * (nothing,))
