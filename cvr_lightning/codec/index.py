"""Packet index: what every packet holds, from one pass over the container and without decoding.

Frame types come from the packets' own headers: MPEG-4 Part 2 vop_coding_type (ISO/IEC 14496-2, 6.2.5), H.264
slice_type of the first slice (ITU-T H.264, 7.3.3), MPEG-1/2 picture_coding_type (ISO/IEC 13818-2, 6.2.3).
"""

from __future__ import annotations

import json
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
from av.packet import Packet
from av.video.stream import VideoStream

from cvr_lightning.codec import h264_headers
from cvr_lightning.codec.decoder import decoded_order
from cvr_lightning.codec.demux import NO_TIMESTAMP, Demuxer, PacketFinder, PacketKey, packet_key
from cvr_lightning.codec.mpeg4 import headers as mpeg4_headers

_MPEG12_PICTURE = b"\x00\x00\x01\x00"
_MPEG12_TYPES = "?IPB?"
INTRA_ONLY = frozenset({"mjpeg", "prores", "dnxhd", "rawvideo", "png", "ffv1", "huffyuv", "dvvideo", "qtrle"})
"""Codecs that have no P-frames."""
UNREAD_WITH_VECTORS = frozenset(
    {"flv1", "h263", "h263i", "h263p", "msmpeg4v1", "msmpeg4v2", "msmpeg4v3", "wmv1", "wmv2"}
)
"""Codecs whose headers are not read here although FFmpeg exports their vectors."""


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


@dataclass(frozen=True)
class _Vop:
    """A VOP in its packet, and what it is decoded with."""

    kind: str
    rounding: int
    packet: int = 0
    offset: int = 0
    size: int = 0
    time: int = 0
    header: int = 0


_NO_VOP = _Vop("", 0)


@dataclass(frozen=True)
class _Packet:
    """One row of the index under construction; ``gives`` is the type of the frame it decodes to, or empty."""

    kind: str
    gives: str
    start: bool
    reference: bool = True
    vop: _Vop = _NO_VOP


class _Mpeg4Scanner:
    """Follows FFmpeg through packed bitstreams.

    There a packet holds a P-VOP and the B-VOP that is shown before it, and a VOP that is not coded holds the
    B-VOP's place. Each packet gives the oldest VOP that has not been decoded yet.
    """

    def __init__(self, extradata: bytes) -> None:
        self.headers = [extradata]
        self._vol = mpeg4_headers.find_vol(extradata)
        self._packed = mpeg4_headers.is_packed(extradata)
        self._waiting: deque[_Vop] = deque()
        self._packet = -1
        self._seconds = self._past_seconds = 0  # time base of the last reference, and of the one before it

    def __call__(self, data: bytes, keyframe: bool) -> _Packet:
        self._packet += 1
        self._read_headers(data)
        if self._vol is None:
            return _Packet("?", "?", keyframe)
        vops = list(mpeg4_headers.vops(data, self._vol))
        first = vops[0][1].kind if vops else "N"
        clean = not self._waiting
        for start, vop in vops if self._packed else vops[:1]:
            if vop.kind == "N" and self._waiting:
                continue  # it only holds a place
            time = self._time(vop, self._vol.resolution)
            if vop.kind == "N":
                continue
            size = mpeg4_headers.vop_end(data, start) - start
            header = len(self.headers) - 1
            self._waiting.append(_Vop(vop.kind, vop.rounding, self._packet, start, size, time, header))
        given = self._waiting.popleft() if self._waiting else _NO_VOP
        return _Packet(first, given.kind, clean and first == "I", first != "B", given)

    def _read_headers(self, data: bytes) -> None:
        """Take note of what stands before the packet's first VOP."""
        start = data.find(mpeg4_headers.VOP_START)
        front = data if start < 0 else data[:start]
        if not front:
            return
        self._packed = self._packed or mpeg4_headers.is_packed(front)
        seconds = mpeg4_headers.group_seconds(front)
        if seconds is not None:
            self._seconds = seconds
        vol = mpeg4_headers.find_vol(front)
        if vol is not None and vol != self._vol:
            self._vol = vol
            self.headers[0 if self._packet == 0 else len(self.headers) :] = [front]
            return
        for mark in mpeg4_headers.user_data(front):
            if mark not in self.headers[-1]:
                self.headers[-1] += mark

    def _time(self, vop: mpeg4_headers.VideoObjectPlane, resolution: int) -> int:
        """Time of a VOP in ticks: B-VOPs count their seconds from the past reference (6.3.5)."""
        if vop.kind == "B":
            return (self._past_seconds + vop.seconds) * resolution + vop.ticks
        self._past_seconds = self._seconds
        self._seconds += vop.seconds
        return self._seconds * resolution + vop.ticks


def _mpeg12_scanner(data: bytes, keyframe: bool) -> _Packet:
    start = data.find(_MPEG12_PICTURE)
    if start < 0 or start + 5 >= len(data):
        return _Packet("N", "", False)
    kind = _MPEG12_TYPES[min(data[start + 5] >> 3 & 7, 4)]
    return _Packet(kind, kind, keyframe and kind == "I", kind != "B")


def _scanner(codec: str, extradata: bytes) -> Callable[[bytes, bool], _Packet]:
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
    extradata = demuxer.stream.codec_context.extradata or b""
    mpeg4 = _Mpeg4Scanner(extradata) if codec == "mpeg4" else None
    scan = mpeg4 or _scanner(codec, extradata)
    rows: list[_Packet] = []
    keys: list[PacketKey] = []
    pts: list[int] = []
    places: list[int] = []
    keyframes: list[bool] = []
    with PacketFinder(demuxer.path) as finder:
        for packet in demuxer.scan():
            data = bytes(packet)
            row = scan(data, packet.is_keyframe)
            rows.append(replace(row, gives="") if packet.is_discard else row)
            keys.append(packet_key(packet))
            pts.append(NO_TIMESTAMP if packet.pts is None else packet.pts)
            places.append(finder.find(data, keys[-1][1]) if mpeg4 else -1)
            keyframes.append(packet.is_keyframe)
    frames = [(number, row.gives) for number, row in enumerate(rows) if row.gives]
    unread = codec in UNREAD_WITH_VECTORS or (codec == "mpeg4" and any(k == "?" for _, k in frames))
    shown = None if unread else _display_order(codec, frames, pts)
    if shown is None:
        shown = decoded_order(demuxer, demuxer.fetch(0, len(rows) - 1, keys))
    if not shown:
        raise demuxer.error("it holds no frame")
    starts = np.array([row.start for row in rows], bool)
    dts, positions, sizes = zip(*keys, strict=True)
    vops = [rows[number].vop for number, _ in shown]
    headers = mpeg4.headers if mpeg4 else []
    return PacketIndex(
        facts=_facts(demuxer, codec, demuxer.fetch(int(starts.argmax()), int(starts.argmax()), keys)),
        types=_letters(row.kind for row in rows),
        sizes=_integers(sizes),
        pts=_integers(pts),
        dts=_integers(dts),
        positions=_integers(positions),
        data_positions=_integers(places),
        keyframes=np.array(keyframes, bool),
        starts=starts,
        reference=np.array([row.reference for row in rows], bool),
        rounding=np.array([row.vop.rounding for row in rows], np.uint8),
        frame_packets=_integers(number for number, _ in shown),
        frame_kinds=_letters(kind for _, kind in shown),
        frame_sources=_integers(vop.packet for vop in vops),
        frame_offsets=_integers(vop.offset for vop in vops),
        frame_sizes=_integers(vop.size for vop in vops),
        frame_times=_integers(vop.time for vop in vops),
        frame_headers=_integers(vop.header for vop in vops),
        headers=np.frombuffer(b"".join(headers), np.uint8),
        header_ends=np.cumsum([len(header) for header in headers], dtype=np.int64),
    )


def _facts(demuxer: Demuxer, codec: str, first: Iterator[tuple[int, Packet[VideoStream]]]) -> StreamFacts:
    """The stream at a glance; ``first`` gives the first packet that decoding can start at."""
    stream, context = demuxer.stream, demuxer.stream.codec_context
    return StreamFacts(
        codec=codec,
        codec_tag=context.codec_tag,
        profile=context.profile or "",
        pixel_format=context.pix_fmt or "",
        width=stream.width,
        height=stream.height,
        rotation=demuxer.rotation(next(first)[1]),
        fps=float(stream.average_rate or 0),
        duration=demuxer.duration(),
        file_size=os.path.getsize(demuxer.path),
    )


def _letters(kinds: Iterable[str]) -> npt.NDArray[np.bytes_]:
    return np.array(list(kinds), "S1")


def _integers(values: Iterable[int]) -> npt.NDArray[np.int64]:
    return np.array(list(values), np.int64)
