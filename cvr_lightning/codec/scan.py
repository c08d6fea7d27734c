"""Builds the packet index: one pass over the container, plus a full decode if headers are insufficient.

Headers suffice for MPEG-4 Part 2 (mpeg4/vop_scan.py), and for H.264 with one frame per packet in a container
with display times (h264/scan.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from cvr_lightning.codec.bitstream.compiling import call
from cvr_lightning.codec.container.demux import Demuxer
from cvr_lightning.codec.container.index import PacketIndex, StreamFacts
from cvr_lightning.codec.container.keys import NO_TIMESTAMP, PacketKeys
from cvr_lightning.codec.container.pictures import Pictures, pictures
from cvr_lightning.codec.container.rotation import may_turn
from cvr_lightning.codec.errors import UnreadableVideoError
from cvr_lightning.codec.ffmpeg.decode_pass import DecodedVideo, Look, decode_pass, look_of
from cvr_lightning.codec.ffmpeg.decoder import Decoder
from cvr_lightning.codec.gather import Packets, gather
from cvr_lightning.codec.h264.scan import PacketScanner
from cvr_lightning.codec.limits import check_size
from cvr_lightning.codec.mpeg4.vop_scan import VopScanner
from cvr_lightning.codec.reordering import reorder_delayed, reorder_depth

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


class _Shown(NamedTuple):
    """The frames in display order, see :class:`~cvr_lightning.codec.ffmpeg.decode_pass.ShownFrame`."""

    packets: npt.NDArray[np.int64]
    kinds: npt.NDArray[np.bytes_]
    ends: npt.NDArray[np.int64]
    checksums: npt.NDArray[np.int64]


def build_index(demuxer: Demuxer) -> PacketIndex:
    """Index a freshly opened file.

    Raises:
        UnreadableVideoError: The container is damaged, or none of its frames is shown.
        UnsupportedStreamError: The frames are too large, or their display transform is not supported.
    """
    codec = demuxer.stream.codec_context.codec.canonical_name
    scanner = _scanner(codec, demuxer.stream.codec_context.extradata or b"")
    packets = gather(demuxer, scanner)
    found = scanner.finish() if scanner else None
    shown, decoded = None, None
    if isinstance(scanner, PacketScanner) and found and _is_simple(demuxer, scanner, packets):
        shown = _by_display_time(found, packets.pts)
    elif isinstance(scanner, VopScanner) and found:
        shown = _coded_order_to_display(found, packets.discarded)
    if shown is None:
        decoded = _decode(demuxer, packets.keys, scanner)
        found = _decoded_pictures(codec, decoded, packets, found)
        shown = _decoded_frames(decoded)
    assert found is not None
    if not len(shown.packets):
        raise demuxer.error("it holds no frame that is shown")
    damaged = packets.corrupt | _unfounded(codec, shown, found)
    damaged[sorted(decoded.damaged) if decoded else []] = True
    look = decoded.look if decoded else _look(demuxer, codec, found, packets)
    facts = _facts(demuxer, codec, look, decoded is not None and decoded.interlaced)
    headers = scanner.headers if scanner else []
    return _index(facts, packets, found, damaged, shown, headers)


def _decode(demuxer: Demuxer, keys: PacketKeys, scanner: VopScanner | PacketScanner | None) -> DecodedVideo:
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


def _coded_order_to_display(found: Pictures, discarded: npt.NDArray[np.bool_]) -> _Shown | None:
    """Reorder as MPEG decoders do: I- and P-frames are delayed until the next one, B-frames are not.

    None if headers are not read or a reference is missing, where decoders differ in what they show.
    """
    given = np.flatnonzero(found.gives != b"")
    if not len(given) or found.gives[given[0]] != b"I" or (found.types == b"?").any():
        return None
    order = np.empty(len(given), np.int64)
    count = call(reorder_delayed, found.gives[given] == b"B", found.times[given], order)
    if count < 0:
        return None
    packets = given[order[:count]]
    return _frames(found, packets[~discarded[packets]])


def _frames(found: Pictures, packets: npt.NDArray[np.int64]) -> _Shown:
    """Frames that are output with their own packet."""
    return _Shown(packets, found.gives[packets], packets, np.full(len(packets), -1, np.int64))


def _decoded_frames(decoded: DecodedVideo) -> _Shown:
    columns = zip(*decoded.frames, strict=True) if decoded.frames else ((), (), (), ())
    packets, kinds, ends, checksums = columns
    return _Shown(
        np.array(packets, np.int64), np.array(kinds, "S1"), np.array(ends, np.int64),
        np.array(checksums, np.int64),
    )  # fmt: skip


def _is_simple(demuxer: Demuxer, scanner: PacketScanner, packets: Packets) -> bool:
    """Whether every decoder shows each picture of an H.264 stream at its display time."""
    context = demuxer.stream.codec_context
    if not _WITH_SIZES & set(demuxer.container.format.name.split(",")):
        return False
    whole = scanner.plain and not packets.discarded.any() and not packets.corrupt.any()
    if not whole or (packets.pts == NO_TIMESTAMP).any():
        return False
    ordered = np.empty_like(packets.pts)
    depth = call(reorder_depth, packets.pts, ordered, _MOST_HELD)  # above the most, not all are ordered
    distinct = (ordered[1:] > ordered[:-1]).all()
    # Where the container stores no display times, FFmpeg counts packets instead.
    return bool(distinct) and (depth <= context.reorder_depth if depth else not context.reorder_depth)


def _by_display_time(found: Pictures, pts: npt.NDArray[np.int64]) -> _Shown:
    return _frames(found, np.argsort(pts, kind="stable"))


def _decoded_pictures(
    codec: str, decoded: DecodedVideo, packets: Packets, found: Pictures | None
) -> Pictures:
    """The pictures of packets from a full decode; what it does not give, from the headers."""
    types = np.full(len(packets.sizes), b"N", "S1")
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


def _unfounded(codec: str, shown: _Shown, found: Pictures) -> npt.NDArray[np.bool_]:
    """Packets of frames before the first I-frame, in codecs whose decoders show them."""
    unfounded = np.zeros(len(found.types), bool)
    if codec in _BEGIN_WITHOUT_IFRAME:
        first = int(found.starts.argmax()) if found.starts.any() else len(found.types)
        place = int((shown.packets == first).argmax())  # 0 if it is not shown
        earlier = np.arange(len(shown.packets)) < place
        unfounded[shown.packets[(shown.packets < first) | earlier]] = True
    return unfounded


def _look(demuxer: Demuxer, codec: str, found: Pictures, packets: Packets) -> Look:
    """Size, format and rotation of frames, from a decoded frame if the container may not state them."""
    if may_turn(demuxer.container, codec):
        start = int(found.starts.argmax())
        kept = demuxer.kept(start)
        coded = [(start, kept)] if kept else demuxer.fetch(start, start, packets.keys)
        for _, frame in Decoder(demuxer).decode(coded, strict=False):
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
    packets: Packets,
    found: Pictures,
    damaged: npt.NDArray[np.bool_],
    shown: _Shown,
    headers: Sequence[bytes],
) -> PacketIndex:
    frame_packets = shown.packets
    lists, list_ends = found.lists_of(frame_packets)
    return PacketIndex(
        facts=facts,
        types=found.types,
        sizes=packets.sizes,
        dts=packets.dts,
        positions=packets.positions,
        data_positions=packets.places,
        starts=found.starts,
        reference=found.reference,
        damaged=damaged,
        rounding=found.rounding,
        frame_packets=frame_packets,
        frame_ends=shown.ends,
        frame_checksums=shown.checksums,
        frame_kinds=shown.kinds,
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
