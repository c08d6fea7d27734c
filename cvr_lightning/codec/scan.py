"""Building the packet index: one pass over the container, without decoding where headers tell enough.

Frame types come from the packets' own headers: MPEG-4 Part 2 vop_coding_type (ISO/IEC 14496-2, 6.2.5), H.264
slice_type of the first slice (ITU-T H.264, 7.3.3), MPEG-1/2 picture_coding_type (ISO/IEC 13818-2, 6.2.3).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from av.packet import Packet
from av.video.stream import VideoStream

from cvr_lightning.codec import h264_headers
from cvr_lightning.codec.decoder import decoded_order
from cvr_lightning.codec.demux import NO_TIMESTAMP, Demuxer, PacketFinder, PacketKey, packet_key
from cvr_lightning.codec.index import PacketIndex, StreamFacts
from cvr_lightning.codec.mpeg4 import headers as mpeg4_headers
from cvr_lightning.codec.mpeg4.vop_header import VOP_START, VideoObjectPlane, vops

_MPEG12_PICTURE = b"\x00\x00\x01\x00"
_MPEG12_TYPES = "?IPB?"
INTRA_ONLY = frozenset({"mjpeg", "prores", "dnxhd", "rawvideo", "png", "ffv1", "huffyuv", "dvvideo", "qtrle"})
"""Codecs that have no P-frames."""
UNREAD_WITH_VECTORS = frozenset(
    {"flv1", "h263", "h263i", "h263p", "msmpeg4v1", "msmpeg4v2", "msmpeg4v3", "wmv1", "wmv2"}
)
"""Codecs whose headers are not read here although FFmpeg exports their vectors."""


class _Vop(NamedTuple):
    """A VOP in its packet, and what it is decoded with."""

    kind: str
    rounding: int
    packet: int = 0
    offset: int = 0
    size: int = 0
    time: int = 0
    header: int = 0


_NO_VOP = _Vop("", 0)


class _Packet(NamedTuple):
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
        self._in_force = mpeg4_headers.SequenceHeaders(extradata)
        self._waiting: deque[_Vop] = deque()
        self._packet = -1
        self._seconds = self._past_seconds = 0  # time base of the last reference, and of the one before it

    def __call__(self, data: bytes, keyframe: bool) -> _Packet:
        self._packet += 1
        self._read_headers(data)
        vol = self._in_force.vol
        if vol is None:
            return _Packet("?", "?", keyframe)
        found = list(vops(data, vol) if self._in_force.packed else islice(vops(data, vol), 1))
        first = found[0][2].kind if found else "N"
        clean = not self._waiting
        for start, size, vop in found:
            if vop.kind == "N" and self._waiting:
                continue  # it only holds a place
            time = self._time(vop, vol.resolution)
            if vop.kind == "N":
                continue
            header = len(self.headers) - 1
            self._waiting.append(_Vop(vop.kind, vop.rounding, self._packet, start, size, time, header))
        given = self._waiting.popleft() if self._waiting else _NO_VOP
        return _Packet(first, given.kind, clean and first == "I", first != "B", given)

    def _read_headers(self, data: bytes) -> None:
        """Take note of what stands before the packet's first VOP."""
        start = data.find(VOP_START)
        front = data if start < 0 else data[:start]
        if not front:
            return
        seconds = mpeg4_headers.group_seconds(front)
        if seconds is not None:
            self._seconds = seconds
        if self._in_force.read(front) and self._packet > 0:
            self.headers.append(self._in_force.header)
        self.headers[-1] = self._in_force.header

    def _time(self, vop: VideoObjectPlane, resolution: int) -> int:
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
    with demuxer.buffer() as file:
        finder = PacketFinder(file)
        for packet in demuxer.scan():
            data = bytes(packet)
            row = scan(data, packet.is_keyframe)
            rows.append(row._replace(gives="") if packet.is_discard else row)
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
        file_size=demuxer.size,
    )


def _letters(kinds: Iterable[str]) -> npt.NDArray[np.bytes_]:
    return np.frombuffer("".join(kinds).encode(), "S1")


def _integers(values: Iterable[int]) -> npt.NDArray[np.int64]:
    return np.array(list(values), np.int64)
