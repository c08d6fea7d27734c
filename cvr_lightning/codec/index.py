"""Packet index: what every packet holds, from one pass over the container and without decoding.

Frame types come from the packets' own headers: MPEG-4 Part 2 vop_coding_type (ISO/IEC 14496-2, 6.2.5), H.264
slice_type of the first slice (ITU-T H.264, 7.3.3), MPEG-1/2 picture_coding_type (ISO/IEC 13818-2, 6.2.3).
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from cvr_lightning.codec import h264_headers
from cvr_lightning.codec.mpeg4 import headers as mpeg4_headers
from cvr_lightning.codec.decoder import decoded_order
from cvr_lightning.codec.demux import NO_TIMESTAMP, Demuxer, PacketKey, packet_key
from cvr_lightning.codec.mpeg4.headers import VideoObjectPlane

_MPEG12_PICTURE = b"\x00\x00\x01\x00"
_MPEG12_TYPES = "?IPB?"
INTRA_ONLY = frozenset({"mjpeg", "prores", "dnxhd", "rawvideo", "png", "ffv1", "huffyuv", "dvvideo", "qtrle"})
"""Codecs that have no P-frames."""
UNREAD_WITH_VECTORS = frozenset(
    {"flv1", "h263", "h263i", "h263p", "msmpeg4v1", "msmpeg4v2", "msmpeg4v3", "wmv1", "wmv2"}
)
"""Codecs whose headers are not read here although FFmpeg exports their vectors."""


@dataclass(frozen=True, eq=False)
class PacketIndex:
    """The packets of a video in file order, P of them, and its F frames in display order.

    Attributes:
        codec: FFmpeg's name of the codec.
        types: (P,) S1, type of the picture that the packet begins with: I, P, B, S (a sprite VOP), N where it
            holds none (placeholders of packed bitstreams, dropped frames), ? where the headers are not read.
        sizes: (P,) int64, bytes.
        pts: (P,) int64 in the stream's time base, ``demux.NO_TIMESTAMP`` where unknown.
        dts: (P,) int64, likewise.
        positions: (P,) int64, place in the file, -1 where unknown.
        keyframes: (P,) bool, the container's mark.
        starts: (P,) bool, decoding can begin here.
        reference: (P,) bool, false where the codec says that no picture refers to this one.
        rounding: (P,) uint8, vop_rounding_type of the VOP that the packet decodes to (MPEG-4 Part 2).
        frame_packets: (F,) int64, the packet whose decoding gives the frame.
        frame_kinds: (F,) S1, type of the frame. In a packed bitstream this is not the type of its packet.
    """

    codec: str
    types: npt.NDArray[np.bytes_]
    sizes: npt.NDArray[np.int64]
    pts: npt.NDArray[np.int64]
    dts: npt.NDArray[np.int64]
    positions: npt.NDArray[np.int64]
    keyframes: npt.NDArray[np.bool_]
    starts: npt.NDArray[np.bool_]
    reference: npt.NDArray[np.bool_]
    rounding: npt.NDArray[np.uint8]
    frame_packets: npt.NDArray[np.int64]
    frame_kinds: npt.NDArray[np.bytes_]

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
        columns = {item.name: np.asarray(getattr(self, item.name)) for item in fields(self)}
        np.savez(file, allow_pickle=False, **columns)

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
        packets, frames = len(columns["types"]), columns["frame_packets"]
        per_packet = [item.name for item in fields(cls)[1:] if not item.name.startswith("frame_")]
        if (
            any(columns[name].shape != (packets,) for name in per_packet)
            or frames.shape != columns["frame_kinds"].shape
            or not ((frames >= 0) & (frames < packets)).all()
        ):
            raise ValueError("not a packet index: its columns do not fit together")
        return cls(**{**columns, "codec": str(columns["codec"])})


@dataclass(frozen=True)
class _Packet:
    """One row of the index under construction; ``gives`` is the type of the frame it decodes to, or empty."""

    kind: str
    gives: str
    start: bool
    reference: bool = True
    rounding: int = 0


class _Mpeg4Scanner:
    """Follows FFmpeg through packed bitstreams.

    There a packet holds a P-VOP and the B-VOP that is shown before it, and a VOP that is not coded holds the
    B-VOP's place. Each packet gives the oldest VOP that has not been decoded yet.
    """

    def __init__(self, extradata: bytes) -> None:
        vol = mpeg4_headers.find_vol(extradata)
        self._time_bits = vol.time_bits if vol else 0
        self._packed = mpeg4_headers.is_packed(extradata)
        self._waiting: deque[VideoObjectPlane] = deque()

    def __call__(self, data: bytes, keyframe: bool) -> _Packet:
        vol = mpeg4_headers.find_vol(data)
        if vol is not None:
            self._time_bits = vol.time_bits
            self._packed = self._packed or mpeg4_headers.is_packed(data)
        if not self._time_bits:
            return _Packet("?", "?", keyframe)
        vops = list(mpeg4_headers.vops(data, self._time_bits))
        first = vops[0].kind if vops else "N"
        clean = not self._waiting
        self._waiting.extend(vop for vop in (vops if self._packed else vops[:1]) if vop.kind != "N")
        given = self._waiting.popleft() if self._waiting else VideoObjectPlane("", 0)
        return _Packet(first, given.kind, clean and first == "I", first != "B", given.rounding)


def _mpeg12_scanner(data: bytes, keyframe: bool) -> _Packet:
    start = data.find(_MPEG12_PICTURE)
    if start < 0 or start + 5 >= len(data):
        return _Packet("N", "", False)
    kind = _MPEG12_TYPES[min(data[start + 5] >> 3 & 7, 4)]
    return _Packet(kind, kind, keyframe and kind == "I", kind != "B")


def _scanner(codec: str, extradata: bytes) -> Callable[[bytes, bool], _Packet]:
    if codec == "mpeg4":
        return _Mpeg4Scanner(extradata)
    if codec in ("mpeg1video", "mpeg2video"):
        return _mpeg12_scanner
    if codec == "h264":
        prefix = h264_headers.length_size(extradata)

        def h264(data: bytes, keyframe: bool) -> _Packet:
            kind, reference = h264_headers.slice_kind(data, prefix)
            return _Packet(kind, kind.replace("N", ""), keyframe and kind == "I", reference)

        return h264

    def other(data: bytes, keyframe: bool) -> _Packet:
        kind = "I" if keyframe or codec in INTRA_ONLY else "?"
        return _Packet(kind, kind, kind == "I")

    return other


def _coded_order_to_display(frames: Sequence[tuple[int, str]]) -> list[tuple[int, str]]:
    """MPEG reordering: an I- or P-frame is shown once the next one arrives, a B-frame at once."""
    shown: list[tuple[int, str]] = []
    held: tuple[int, str] | None = None
    references = 0
    for frame in frames:
        if frame[1] == "B":
            if references >= 2:  # a decoder drops B-frames that lack a reference
                shown.append(frame)
            continue
        references += 1
        if held is not None:
            shown.append(held)
        held = frame
    return shown if held is None else [*shown, held]


def _display_order(
    codec: str, frames: list[tuple[int, str]], pts: Sequence[int]
) -> list[tuple[int, str]] | None:
    """The frames as they are shown, None where neither headers nor timestamps tell."""
    while frames and frames[0][1] in "PBS":  # nothing to predict them from
        frames = frames[1:]
    if codec in ("mpeg4", "mpeg1video", "mpeg2video"):
        return _coded_order_to_display(frames)
    times = [pts[packet] for packet, _ in frames]
    bidirectional = any(kind == "B" for _, kind in frames)
    distinct = NO_TIMESTAMP not in times and len(set(times)) == len(times)
    # Where a container stores no display times, FFmpeg counts packets instead.
    if not distinct or (bidirectional and times == sorted(times)):
        return None if bidirectional else frames
    return sorted(frames, key=lambda frame: pts[frame[0]])


def build_index(demuxer: Demuxer) -> PacketIndex:
    """Index a freshly opened file.

    The video is decoded only where its headers are not read although its codec has vectors, or where neither
    headers nor timestamps tell the display order.

    Raises:
        UnreadableVideoError: The container is damaged, or holds no frame.
    """
    codec = demuxer.stream.codec_context.codec.canonical_name
    scan = _scanner(codec, demuxer.stream.codec_context.extradata or b"")
    rows: list[_Packet] = []
    keys: list[PacketKey] = []
    pts: list[int] = []
    keyframes: list[bool] = []
    for packet in demuxer.scan():
        row = scan(bytes(packet), packet.is_keyframe)
        rows.append(replace(row, gives="") if packet.is_discard else row)
        keys.append(packet_key(packet))
        pts.append(NO_TIMESTAMP if packet.pts is None else packet.pts)
        keyframes.append(packet.is_keyframe)
    frames = [(number, row.gives) for number, row in enumerate(rows) if row.gives]
    unread = codec in UNREAD_WITH_VECTORS or (codec == "mpeg4" and any(k == "?" for _, k in frames))
    shown = None if unread else _display_order(codec, frames, pts)
    if shown is None:
        shown = decoded_order(demuxer, demuxer.fetch(0, len(rows) - 1, keys))
    if not shown:
        raise demuxer.error("it holds no frame")
    dts, positions, sizes = zip(*keys, strict=True)
    return PacketIndex(
        codec=codec,
        types=_letters(row.kind for row in rows),
        sizes=np.array(sizes, np.int64),
        pts=np.array(pts, np.int64),
        dts=np.array(dts, np.int64),
        positions=np.array(positions, np.int64),
        keyframes=np.array(keyframes, bool),
        starts=np.array([row.start for row in rows], bool),
        reference=np.array([row.reference for row in rows], bool),
        rounding=np.array([row.rounding for row in rows], np.uint8),
        frame_packets=np.array([number for number, _ in shown], np.int64),
        frame_kinds=_letters(kind for _, kind in shown),
    )


def _letters(kinds: Iterable[str]) -> npt.NDArray[np.bytes_]:
    return np.array(list(kinds), "S1")
