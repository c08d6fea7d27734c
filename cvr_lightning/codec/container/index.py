"""Packet index: the content of every packet of a video, as arrays that can be cached."""

from __future__ import annotations

import hashlib
import json
import zlib
from dataclasses import astuple, dataclass, fields
from functools import cached_property

import numpy as np
import numpy.typing as npt

from cvr_lightning.codec.container.columns import pack, unpack
from cvr_lightning.codec.container.index_check import check_index
from cvr_lightning.codec.container.keys import PacketKeys
from cvr_lightning.files.bounds import INDEX_BYTES, decompress, parse_json

INDEX_VERSION = 5
"""Increased when the content or format of an index changes, which invalidates cached indexes."""
_CHECKSUM_BYTES = 16


@dataclass(frozen=True)
class StreamFacts:
    """Stream parameters from the container and the codec's headers.

    Attributes:
        codec: FFmpeg's name of the codec.
        codec_tag: The container's codec tag.
        profile: Codec profile, empty if not stated.
        pixel_format: FFmpeg's name of the pixel format.
        width: Coded width in pixels.
        height: Coded height in pixels.
        rotation: Rotation for display in degrees counterclockwise: 0, 90, 180 or 270.
        fps: Average frame rate, 0 if unknown.
        duration: Duration in seconds from the container, 0 if unknown.
        file_size: Size of the file in bytes.
        interlaced: At least one decoded frame is interlaced.
        color_range: Color range from the container, in FFmpeg's numbering.
        color_matrix: Matrix coefficients of Y, Cb, Cr.
        color_primaries: Color primaries.
        color_transfer: Transfer characteristics.
    """

    codec: str
    codec_tag: str
    profile: str
    pixel_format: str
    width: int
    height: int
    rotation: int
    fps: float
    duration: float
    file_size: int
    interlaced: bool
    color_range: int
    color_matrix: int
    color_primaries: int
    color_transfer: int

    @property
    def colors(self) -> tuple[int, int, int, int]:
        """Color range, matrix, primaries and transfer."""
        return self.color_range, self.color_matrix, self.color_primaries, self.color_transfer


@dataclass(frozen=True, eq=False)
class PacketIndex:
    """The P packets of a video in file order, and its F frames in display order.

    The columns from ``frame_sources`` on apply to MPEG-4 Part 2 and H.264 and are zero for other codecs.

    Attributes:
        facts: Stream parameters.
        types: (P,) S1, type of the first picture of the packet: I, P, B, S (sprite VOP), N if no picture of
            it is shown (placeholders of packed bitstreams, dropped or hidden frames), ? if unknown.
        sizes: (P,) int64, size in bytes.
        dts: (P,) int64, decoding timestamp in the stream's time base, ``keys.NO_TIMESTAMP`` if unknown.
        positions: (P,) int64, file position reported by the demuxer, -1 if unknown.
        data_positions: (P,) int64, file position of the first byte of the packet's data, -1 if the data are
            not contiguous in the file.
        starts: (P,) bool, decoding can start at this packet.
        reference: (P,) bool, false if the codec declares that no picture refers to this one.
        damaged: (P,) bool, the packet is damaged, or a reference of its picture is not in the file.
        rounding: (P,) uint8, vop_rounding_type of the VOP that the packet decodes to (MPEG-4 Part 2).
        frame_packets: (F,) int64, the packet that decodes to the frame. A codec may show a frame twice.
        frame_ends: (F,) int64, the last packet that a decoder needs to output the frame.
        frame_checksums: (F,) int64, checksum of the frame in a full decode (ffmpeg/decoder.py), -1 if the
            headers sufficed and nothing was decoded.
        frame_kinds: (F,) S1, type of the frame; in a packed bitstream it may differ from the packet's type.
        frame_sources: (F,) int64, the packet that contains the frame's VOP.
        frame_offsets: (F,) int64, byte offset of the VOP in that packet.
        frame_sizes: (F,) int64, size of the VOP in bytes.
        frame_times: (F,) int64, time of the VOP in ticks of vop_time_increment.
        frame_headers: (F,) int64, index of the sequence header in effect.
        frame_list_ends: (F,) int64, end of each frame's entries in ``reference_lists``.
        reference_lists: int64, H.264 only: for each slice of each frame, the lengths of its two reference
            lists, then for each entry its distance to this frame in display order, 0 if it is missing; in a B
            slice then its distance in picture order count, doubled, plus 1 if it is long-term.
        headers: uint8, concatenated sequence headers of the stream (VOL and encoder user data; H.264
            parameter sets).
        header_ends: int64, end of each header.
    """

    facts: StreamFacts
    types: npt.NDArray[np.bytes_]
    sizes: npt.NDArray[np.int64]
    dts: npt.NDArray[np.int64]
    positions: npt.NDArray[np.int64]
    data_positions: npt.NDArray[np.int64]
    starts: npt.NDArray[np.bool_]
    reference: npt.NDArray[np.bool_]
    damaged: npt.NDArray[np.bool_]
    rounding: npt.NDArray[np.uint8]
    frame_packets: npt.NDArray[np.int64]
    frame_ends: npt.NDArray[np.int64]
    frame_checksums: npt.NDArray[np.int64]
    frame_kinds: npt.NDArray[np.bytes_]
    frame_sources: npt.NDArray[np.int64]
    frame_offsets: npt.NDArray[np.int64]
    frame_sizes: npt.NDArray[np.int64]
    frame_times: npt.NDArray[np.int64]
    frame_headers: npt.NDArray[np.int64]
    frame_list_ends: npt.NDArray[np.int64]
    reference_lists: npt.NDArray[np.int64]
    headers: npt.NDArray[np.uint8]
    header_ends: npt.NDArray[np.int64]

    @property
    def codec(self) -> str:
        """FFmpeg's name of the codec."""
        return self.facts.codec

    @cached_property
    def sequence_headers(self) -> list[bytes]:
        """The sequence headers, split."""
        ends = self.header_ends.tolist()
        return [self.headers[a:b].tobytes() for a, b in zip([0, *ends], ends, strict=False)]

    @cached_property
    def frame_types(self) -> str:
        """Types of the frames in display order, such as ``"IPPBP"``."""
        return self.frame_kinds.tobytes().decode("ascii")

    @cached_property
    def frame_of_packet(self) -> dict[int, int]:
        """Number of the first frame of each packet that gives one."""
        numbers: dict[int, int] = {}
        for frame, packet in enumerate(self.frame_packets.tolist()):
            numbers.setdefault(packet, frame)
        return numbers

    @property
    def keys(self) -> PacketKeys:
        """Keys that identify each packet."""
        return PacketKeys(self.dts, self.positions, self.sizes)

    def lists_of(self, frame: int) -> npt.NDArray[np.int64]:
        """The part of ``reference_lists`` that belongs to a frame."""
        begin = self.frame_list_ends[frame - 1] if frame else 0
        return self.reference_lists[begin : self.frame_list_ends[frame]]

    def to_bytes(self) -> bytes:
        """Serialize the index, with a checksum: about 3 bytes per packet."""
        described, content = pack({item.name: getattr(self, item.name) for item in fields(self)[1:]})
        head = json.dumps([astuple(self.facts), described], separators=(",", ":")).encode()
        packed = zlib.compress(head + b"\n" + content)
        return _checksum(packed) + packed

    @classmethod
    def from_bytes(cls, data: bytes) -> PacketIndex:
        """The inverse of :meth:`to_bytes`.

        Raises:
            ValueError: The data are damaged, of another index version, or decompress to more than
                :data:`cvr_lightning.files.bounds.INDEX_BYTES`.
        """
        checksum, packed = data[:_CHECKSUM_BYTES], data[_CHECKSUM_BYTES:]
        if checksum != _checksum(packed):
            raise ValueError("not a packet index: wrong checksum")
        try:
            head, _, body = decompress(packed, INDEX_BYTES).partition(b"\n")
            facts, described = parse_json(head)
            columns = unpack([item.name for item in fields(cls)[1:]], described, body)
            index = cls(StreamFacts(*facts), **columns)
            check_index(index)
        except (TypeError, ValueError, OverflowError) as error:
            raise ValueError(f"not a packet index: {error}") from error
        return index


def _checksum(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=_CHECKSUM_BYTES).digest()
