"""What the packets of a stream hold, by their own headers."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from cvr_lightning.codec import h264_headers


class Pictures(NamedTuple):
    """The pictures of P packets in file order, (P,) each.

    The columns from ``rounding`` on are of the VOP that a packet decodes to, zero in other than MPEG-4 Part 2
    video and where it decodes to none; see :class:`~cvr_lightning.codec.container.index.PacketIndex`.

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


class PictureScanner(Protocol):
    """Reads the headers of packets."""

    def add(self, data: bytes, keyframe: bool) -> None:
        """Take the next packet; ``keyframe`` is the container's mark."""

    def finish(self) -> Pictures:
        """What all packets hold."""


class H264Scanner:
    """Pictures of H.264, by the headers of their slices (ITU-T H.264, 7.3.3).

    Args:
        extradata: What the container knows beforehand.

    Attributes:
        plain: Each packet holds one whole picture, and the first can be decoded by itself.
        parameters: The units of parameter sets that the packets hold, each once.
    """

    def __init__(self, extradata: bytes) -> None:
        self._prefix = h264_headers.length_size(extradata)
        self._rows: list[h264_headers.CodedPicture] = []
        self.plain = True
        self.parameters: dict[bytes, None] = {}

    def add(self, data: bytes, keyframe: bool) -> None:
        """Take the next packet."""
        picture = h264_headers.coded_picture(data, self._prefix)
        self.plain = self.plain and picture.plain and (picture.start or bool(self._rows))
        self.parameters.update(dict.fromkeys(picture.parameters))
        self._rows.append(picture._replace(parameters=()))

    def is_gapless(self, number_bits: int) -> bool:
        """Whether each picture counts on from the reference picture before it (7.4.3, frame_num)."""
        before = 0
        for row in self._rows:
            number = row.number >> (16 - number_bits)
            if number != (0 if row.idr else (before + 1) % (1 << number_bits)):
                return False
            before = number if row.reference else before
        return True

    def finish(self) -> Pictures:
        """What all packets hold."""
        types = np.array([row.kind for row in self._rows], "S1")
        starts = np.array([row.start for row in self._rows], bool)
        reference = np.array([row.reference for row in self._rows], bool)
        return pictures(types, starts, reference)


def pictures(
    types: npt.NDArray[np.bytes_], starts: npt.NDArray[np.bool_], reference: npt.NDArray[np.bool_]
) -> Pictures:
    """Pictures of other than MPEG-4 Part 2 video; a type N gives no frame."""
    gives = np.where(types == b"N", b"", types).astype("S1")
    nothing = np.zeros(len(types), np.int64)
    return Pictures(types, gives, starts, reference, nothing.astype(np.uint8), *5 * (nothing,))
