"""Packet index: what every packet of a video holds, as plain arrays that can be cached beside it."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from cvr_lightning.codec.demux import PacketKey


@dataclass(frozen=True)
class StreamFacts:
    """What a container and a codec's headers say of a stream.

    Attributes:
        codec: FFmpeg's name of the codec.
        codec_tag: The container's name of it.
        profile: The codec's profile, empty where it states none.
        pixel_format: FFmpeg's name of the pixel format.
        width: Width of the frames as coded, in pixels.
        height: Height of the frames as coded.
        rotation: Degrees counter-clockwise by which frames are turned for display: 0, 90, 180, 270.
        fps: Average frame rate, 0 where unknown.
        duration: Seconds according to the container, 0 where unknown.
        file_size: Bytes of the file.
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


@dataclass(frozen=True, eq=False)
class PacketIndex:
    """The packets of a video in file order, P of them, and its F frames in display order.

    The columns from ``frame_sources`` on are those of MPEG-4 Part 2 video, zero in other video.

    Attributes:
        facts: The stream at a glance.
        types: (P,) S1, type of the picture that the packet begins with: I, P, B, S (a sprite VOP), N where it
            holds none (placeholders of packed bitstreams, dropped frames), ? where the headers are not read.
        sizes: (P,) int64, bytes.
        pts: (P,) int64 in the stream's time base, ``demux.NO_TIMESTAMP`` where unknown.
        dts: (P,) int64, likewise.
        positions: (P,) int64, place in the file that the demuxer names, -1 where unknown.
        data_positions: (P,) int64, byte of the file at which the packet's own bytes begin, -1 where they do
            not lie there in one piece.
        keyframes: (P,) bool, the container's mark.
        starts: (P,) bool, decoding can begin here.
        reference: (P,) bool, false where the codec says that no picture refers to this one.
        rounding: (P,) uint8, vop_rounding_type of the VOP that the packet decodes to (MPEG-4 Part 2).
        frame_packets: (F,) int64, the packet whose decoding gives the frame.
        frame_kinds: (F,) S1, type of the frame. In a packed bitstream this is not the type of its packet.
        frame_sources: (F,) int64, the packet that holds the frame's VOP.
        frame_offsets: (F,) int64, byte of that packet at which the VOP begins.
        frame_sizes: (F,) int64, bytes of the VOP.
        frame_times: (F,) int64, time of the VOP in ticks of vop_time_increment.
        frame_headers: (F,) int64, which of the headers is in force.
        headers: uint8, sequence headers (VOL, encoder's mark) that the stream uses, one behind the other.
        header_ends: int64, where each of them ends.
    """

    facts: StreamFacts
    types: npt.NDArray[np.bytes_]
    sizes: npt.NDArray[np.int64]
    pts: npt.NDArray[np.int64]
    dts: npt.NDArray[np.int64]
    positions: npt.NDArray[np.int64]
    data_positions: npt.NDArray[np.int64]
    keyframes: npt.NDArray[np.bool_]
    starts: npt.NDArray[np.bool_]
    reference: npt.NDArray[np.bool_]
    rounding: npt.NDArray[np.uint8]
    frame_packets: npt.NDArray[np.int64]
    frame_kinds: npt.NDArray[np.bytes_]
    frame_sources: npt.NDArray[np.int64]
    frame_offsets: npt.NDArray[np.int64]
    frame_sizes: npt.NDArray[np.int64]
    frame_times: npt.NDArray[np.int64]
    frame_headers: npt.NDArray[np.int64]
    headers: npt.NDArray[np.uint8]
    header_ends: npt.NDArray[np.int64]

    @property
    def codec(self) -> str:
        """FFmpeg's name of the codec."""
        return self.facts.codec

    @cached_property
    def sequence_headers(self) -> list[bytes]:
        """The sequence headers apart."""
        ends = self.header_ends.tolist()
        return [self.headers[a:b].tobytes() for a, b in zip([0, *ends], ends, strict=False)]

    @cached_property
    def frame_types(self) -> str:
        """Types of the frames in display order, such as ``"IPPBP"``."""
        return self.frame_kinds.tobytes().decode("ascii")

    @cached_property
    def frame_of_packet(self) -> dict[int, int]:
        """Frame number of each packet that gives a frame."""
        return {int(packet): frame for frame, packet in enumerate(self.frame_packets)}

    @cached_property
    def keys(self) -> list[PacketKey]:
        """What tells each packet from the others."""
        columns = (self.dts.tolist(), self.positions.tolist(), self.sizes.tolist())
        return list(zip(*columns, strict=True))

    def start_before(self, packet: int) -> int:
        """The last packet at or before ``packet`` that decoding can begin at; the first packet if none."""
        starts = np.flatnonzero(self.starts[: packet + 1])
        return int(starts[-1]) if len(starts) else 0

    def save(self, file: str | os.PathLike[str] | BinaryIO) -> None:
        """Write the index as plain arrays (npz, no pickle)."""
        columns = {item.name: np.asarray(getattr(self, item.name)) for item in fields(self)[1:]}
        np.savez(file, allow_pickle=False, facts=np.asarray(json.dumps(asdict(self.facts))), **columns)

    @classmethod
    def load(cls, file: str | os.PathLike[str] | BinaryIO) -> PacketIndex:
        """Read an index that :meth:`save` wrote.

        Raises:
            ValueError: The file is not such an index.
        """
        with np.load(file, allow_pickle=False) as data:
            missing = [item.name for item in fields(cls) if item.name not in data]
            if missing:
                raise ValueError(f"not a packet index: it lacks {', '.join(missing)}")
            columns = {item.name: data[item.name] for item in fields(cls)}
        per_packet, per_frame = len(columns["types"]), len(columns["frame_packets"])
        loose = ("facts", "headers", "header_ends")
        lengths = {
            name: per_frame if name.startswith("frame_") else per_packet
            for name in columns
            if name not in loose
        }
        pointers = (
            (columns["frame_packets"], per_packet),
            (columns["frame_sources"], per_packet),
            (columns["frame_headers"], max(1, len(columns["header_ends"]))),
        )
        if any(columns[name].shape != (length,) for name, length in lengths.items()) or not all(
            ((column >= 0) & (column < limit)).all() for column, limit in pointers
        ):
            raise ValueError("not a packet index: its columns do not fit together")
        try:
            facts = StreamFacts(**json.loads(str(columns.pop("facts"))))
        except (TypeError, ValueError) as error:
            raise ValueError(f"not a packet index: {error}") from error
        return cls(facts=facts, **columns)
