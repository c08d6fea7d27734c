"""Builds the packet index: one pass over the container, plus a full decode if headers are insufficient.

Headers suffice for MPEG-4 Part 2 (mpeg4/vop_scan.py), and for H.264 with one frame per packet in a container
with display times (h264/scan.py).
"""

from __future__ import annotations

from bisect import bisect, insort
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from cvr_lightning.codec.container.demux import NO_TIMESTAMP, Demuxer, PacketKey, packet_key
from cvr_lightning.codec.container.index import PacketIndex, StreamFacts
from cvr_lightning.codec.container.length import PacketFinder
from cvr_lightning.codec.container.pictures import Pictures, pictures
from cvr_lightning.codec.container.rotation import may_turn
from cvr_lightning.codec.errors import UnreadableVideoError
from cvr_lightning.codec.ffmpeg.decode_pass import DecodedVideo, Look, ShownFrame, decode_pass, look_of
from cvr_lightning.codec.ffmpeg.decoder import Decoder
from cvr_lightning.codec.h264.scan import PacketScanner
from cvr_lightning.codec.limits import check_size
from cvr_lightning.codec.mpeg4.vop_scan import VopScanner

WITH_VECTORS = frozenset(
    {"mpeg4", "h264", "mpeg1video", "mpeg2video", "flv1", "h263", "h263i", "h263p"}
    | {"msmpeg4v1", "msmpeg4v2", "msmpeg4v3", "wmv1", "wmv2"}
)
"""Codecs for which FFmpeg exports motion vectors."""
_BEGIN_WITHOUT_IFRAME = WITH_VECTORS - {"h264"}
"""Codecs whose decoders output pictures even if their reference is missing."""


_WITH_SIZES = frozenset({"mov", "matroska"})
"""Containers that store the size and display time of each packet, so missing bytes are detected."""
_MOST_HELD = 16  # frames that an H.264 decoder holds (A.3.1)


class _Packets(NamedTuple):
    """Container metadata of each packet.

    Attributes:
        keys: Keys.
        pts: Display times.
        places: Byte positions in the file, -1 if not determined.
        keyframes: The container's keyframe flags.
        discarded: The frame is decoded but not shown.
        corrupt: Bytes are known to be missing.
    """

    keys: list[PacketKey]
    pts: list[int]
    places: list[int]
    keyframes: npt.NDArray[np.bool_]
    discarded: npt.NDArray[np.bool_]
    corrupt: npt.NDArray[np.bool_]


def build_index(demuxer: Demuxer) -> PacketIndex:
    """Index a freshly opened file.

    Raises:
        UnreadableVideoError: The container is damaged, or none of its frames is shown.
        UnsupportedStreamError: The frames are too large, or their display transform is not supported.
    """
    codec = demuxer.stream.codec_context.codec.canonical_name
    scanner = _scanner(codec, demuxer.stream.codec_context.extradata or b"")
    packets = _gather(demuxer, scanner)
    found = scanner.finish() if scanner else None
    shown, decoded = None, None
    if isinstance(scanner, PacketScanner) and found and _is_simple(demuxer, scanner, packets):
        shown = _by_display_time(found, packets.pts)
    elif isinstance(scanner, VopScanner) and found:
        shown = _coded_order_to_display(found, packets.discarded)
    if shown is None:
        decoded = _decode(demuxer, packets.keys, scanner)
        found = _decoded_pictures(codec, decoded, packets, found)
        shown = decoded.frames
    assert found is not None
    if not shown:
        raise demuxer.error("it holds no frame that is shown")
    damaged = packets.corrupt | _unfounded(codec, shown, found)
    damaged[sorted(decoded.damaged) if decoded else []] = True
    look = decoded.look if decoded else _look(demuxer, codec, found, packets.keys)
    facts = _facts(demuxer, codec, look, decoded is not None and decoded.interlaced)
    headers = scanner.headers if scanner else []
    return _index(facts, packets, found, damaged, shown, headers)


def _decode(
    demuxer: Demuxer, keys: Sequence[PacketKey], scanner: VopScanner | PacketScanner | None
) -> DecodedVideo:
    """Decode the whole video; if FFmpeg outputs nothing, name the coding tool that it may lack."""
    try:
        return decode_pass(demuxer, demuxer.fetch(0, len(keys) - 1, keys))
    except UnreadableVideoError as error:
        tool = scanner.unread_tool if isinstance(scanner, PacketScanner) else ""
        if tool:
            raise demuxer.error(f"{error.cause}; it uses {tool}") from error
        raise


def _scanner(codec: str, extradata: bytes) -> VopScanner | PacketScanner | None:
    if codec == "mpeg4":
        return VopScanner(extradata)
    return PacketScanner(extradata) if codec == "h264" else None


def _gather(demuxer: Demuxer, scanner: VopScanner | PacketScanner | None) -> _Packets:
    """Pass all packets to the scanner and record their container metadata."""
    keys: list[PacketKey] = []
    pts: list[int] = []
    places: list[int] = []
    marks: list[tuple[bool, bool, bool]] = []
    with demuxer.buffer() as file:
        finder = PacketFinder(file)
        for packet in demuxer.scan():
            keys.append(packet_key(packet))
            pts.append(NO_TIMESTAMP if packet.pts is None else packet.pts)
            marks.append((packet.is_keyframe, packet.is_discard, packet.is_corrupt))
            if scanner:
                data = bytes(packet)
                scanner.add(data, packet.is_keyframe)
            places.append(finder.find(data, keys[-1][1]) if scanner else -1)
    if not keys:
        raise demuxer.error("it holds no packet of video")
    return _Packets(keys, pts, places, *np.array(marks, bool).T)


def _coded_order_to_display(found: Pictures, discarded: npt.NDArray[np.bool_]) -> list[ShownFrame] | None:
    """Reorder as MPEG decoders do: I- and P-frames are delayed until the next one, B-frames are not.

    None if headers are not read or a reference is missing, where decoders differ in what they show.
    """
    order: list[int] = []
    held: list[int] = []
    kinds, times = found.gives.tolist(), found.times.tolist()
    given = np.flatnonzero(found.gives != b"").tolist()
    if not given or kinds[given[0]] != b"I" or (found.types == b"?").any():
        return None
    for packet in given:
        if kinds[packet] != b"B":
            order += held[-1:]
            held = [*held[-1:], packet]
        elif len(held) == 2:  # a decoder drops B-frames that lack a reference
            if not times[held[0]] < times[packet] < times[held[1]]:
                return None
            order.append(packet)
    return [ShownFrame(n, kinds[n].decode(), n, -1) for n in [*order, *held[-1:]] if not discarded[n]]


def _is_simple(demuxer: Demuxer, scanner: PacketScanner, packets: _Packets) -> bool:
    """Whether every decoder shows each picture of an H.264 stream at its display time."""
    context = demuxer.stream.codec_context
    if not _WITH_SIZES & set(demuxer.container.format.name.split(",")):
        return False
    whole = scanner.plain and not packets.discarded.any() and not packets.corrupt.any()
    if not whole or NO_TIMESTAMP in packets.pts:
        return False
    distinct = len(set(packets.pts)) == len(packets.pts)
    depth = _reorder_depth(packets.pts)
    # Where the container stores no display times, FFmpeg counts packets instead.
    return distinct and (depth <= context.reorder_depth if depth else not context.reorder_depth)


def _reorder_depth(pts: Sequence[int]) -> int:
    """The maximum number of frames that precede a frame in coded order and follow it in display order.

    Counting stops above the number of frames that a decoder can hold.
    """
    times: list[int] = []
    depth = 0
    for time in pts:
        depth = max(depth, len(times) - bisect(times, time))
        if depth > _MOST_HELD:
            break
        insort(times, time)
    return depth


def _by_display_time(found: Pictures, pts: Sequence[int]) -> list[ShownFrame]:
    kinds = found.gives.tobytes().decode("ascii")
    return [ShownFrame(n, kinds[n], n, -1) for n in sorted(range(len(pts)), key=pts.__getitem__)]


def _decoded_pictures(
    codec: str, decoded: DecodedVideo, packets: _Packets, found: Pictures | None
) -> Pictures:
    """The pictures of packets from a full decode; what it does not give, from the headers."""
    types = np.full(len(packets.keys), b"N", "S1")
    for frame in decoded.frames:
        types[frame.packet] = frame.kind
    # The type of a frame that is not shown is unknown; only the container's keyframe flag is.
    starts = (types == b"I") | (packets.keyframes & packets.discarded)
    bidirectional = types == b"B" if codec in ("mpeg1video", "mpeg2video") else np.zeros(len(types), bool)
    if found is None:
        return pictures(types, starts, ~bidirectional)
    if codec == "h264":  # an I-frame alone does not end prediction across it
        return found._replace(types=types)
    return found._replace(types=types, gives=types, starts=starts, reference=~bidirectional)


def _unfounded(codec: str, shown: Sequence[ShownFrame], found: Pictures) -> npt.NDArray[np.bool_]:
    """Packets of frames before the first I-frame, in codecs whose decoders show them."""
    unfounded = np.zeros(len(found.types), bool)
    if codec in _BEGIN_WITHOUT_IFRAME:
        first = int(found.starts.argmax()) if found.starts.any() else len(found.types)
        order = [frame.packet for frame in shown]
        place = order.index(first) if first in order else 0
        unfounded[[packet for n, packet in enumerate(order) if packet < first or n < place]] = True
    return unfounded


def _look(demuxer: Demuxer, codec: str, found: Pictures, keys: Sequence[PacketKey]) -> Look:
    """Size, format and rotation of frames, from a decoded frame if the container may not state them."""
    if may_turn(demuxer.container, codec):
        start = int(found.starts.argmax())
        run = Decoder(demuxer).decode(demuxer.fetch(start, start, keys), strict=False)
        for _, frame in run:
            return look_of(demuxer, frame)
    stream = demuxer.stream
    check_size(demuxer.path, stream.width, stream.height)
    return Look(stream.width, stream.height, stream.codec_context.pix_fmt or "", 0)


def _facts(demuxer: Demuxer, codec: str, look: Look, interlaced: bool) -> StreamFacts:
    """Summary of the stream."""
    stream, context = demuxer.stream, demuxer.stream.codec_context
    return StreamFacts(
        codec=codec,
        codec_tag=context.codec_tag,
        profile=context.profile or "",
        pixel_format=look.pixel_format,
        width=look.width,
        height=look.height,
        rotation=look.rotation,
        fps=float(stream.average_rate or 0),
        duration=demuxer.duration(),
        file_size=demuxer.size,
        interlaced=interlaced,
        color_range=int(context.color_range),
        color_matrix=int(context.colorspace),
        color_primaries=int(context.color_primaries),
        color_transfer=int(context.color_trc),
    )


def _index(
    facts: StreamFacts,
    packets: _Packets,
    found: Pictures,
    damaged: npt.NDArray[np.bool_],
    shown: Sequence[ShownFrame],
    headers: Sequence[bytes],
) -> PacketIndex:
    dts, positions, sizes = zip(*packets.keys, strict=True)
    frame_packets = np.array([frame.packet for frame in shown], np.int64)
    lists, list_ends = found.lists_of(frame_packets)
    return PacketIndex(
        facts=facts,
        types=found.types,
        sizes=np.array(sizes, np.int64),
        pts=np.array(packets.pts, np.int64),
        dts=np.array(dts, np.int64),
        positions=np.array(positions, np.int64),
        data_positions=np.array(packets.places, np.int64),
        keyframes=packets.keyframes,
        starts=found.starts,
        reference=found.reference,
        damaged=damaged,
        rounding=found.rounding,
        frame_packets=frame_packets,
        frame_ends=np.array([frame.end for frame in shown], np.int64),
        frame_checksums=np.array([frame.checksum for frame in shown], np.int64),
        frame_kinds=np.array([frame.kind for frame in shown], "S1"),
        frame_sources=found.sources[frame_packets],
        frame_offsets=found.offsets[frame_packets],
        frame_sizes=found.sizes[frame_packets],
        frame_times=found.times[frame_packets],
        frame_headers=found.headers[frame_packets],
        frame_list_ends=list_ends,
        reference_lists=lists,
        headers=np.frombuffer(b"".join(headers), np.uint8),
        header_ends=np.cumsum([len(header) for header in headers], dtype=np.int64),
    )
