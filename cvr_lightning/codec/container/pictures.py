"""What the packets of a stream hold, by their own headers."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from cvr_lightning.codec import h264_headers

_INTRA_ONLY = frozenset(
    {"mjpeg", "prores", "dnxhd", "rawvideo", "png", "ffv1", "huffyuv", "dvvideo", "qtrle"}
)
"""Codecs that have no P-frames."""
_MPEG12_PICTURE = b"\x00\x00\x01\x00"
_MPEG12_TYPES = "?IPB?"


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


class HeaderScanner:
    """Pictures of codecs that have one in each packet.

    Types come from H.264's slice_type of the first slice (ITU-T H.264, 7.3.3) and MPEG-1/2's
    picture_coding_type (ISO/IEC 13818-2, 6.2.3); of other codecs the keyframes alone are known.

    Args:
        codec: FFmpeg's name of the codec.
        extradata: What the container knows beforehand.
    """

    def __init__(self, codec: str, extradata: bytes) -> None:
        self._codec = codec
        self._prefix = h264_headers.length_size(extradata) if codec == "h264" else 0
        self._rows: list[tuple[str, str, bool, bool]] = []

    def add(self, data: bytes, keyframe: bool) -> None:
        """Take the next packet."""
        if self._codec == "h264":
            kind, reference = h264_headers.slice_kind(data, self._prefix)
            row = kind, kind.replace("N", ""), keyframe and kind == "I", reference
        elif self._codec in ("mpeg1video", "mpeg2video"):
            kind = _mpeg12_kind(data)
            row = kind, kind.replace("N", ""), keyframe and kind == "I", kind != "B"
        else:
            kind = "I" if keyframe or self._codec in _INTRA_ONLY else "?"
            row = kind, kind, kind == "I", True
        self._rows.append(row)

    def finish(self) -> Pictures:
        """What all packets hold."""
        types, gives, starts, reference = zip(*self._rows, strict=True) if self._rows else ((), (), (), ())
        nothing = np.zeros(len(types), np.int64)
        return Pictures(
            np.array(types, "S1"),
            np.array(gives, "S1"),
            np.array(starts, bool),
            np.array(reference, bool),
            nothing.astype(np.uint8),
            *5 * (nothing,),
        )


def _mpeg12_kind(data: bytes) -> str:
    start = data.find(_MPEG12_PICTURE)
    if start < 0 or start + 5 >= len(data):
        return "N"
    return _MPEG12_TYPES[min(data[start + 5] >> 3 & 7, 4)]
