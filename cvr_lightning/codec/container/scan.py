"""Building the packet index: one pass over the container, without decoding where headers tell enough.

Frame types come from the packets' own headers: MPEG-4 Part 2's by mpeg4/vop_scan.py, others' by pictures.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
from av.packet import Packet
from av.video.stream import VideoStream

from cvr_lightning.codec.container.demux import NO_TIMESTAMP, Demuxer, PacketFinder, PacketKey, packet_key
from cvr_lightning.codec.container.index import PacketIndex, StreamFacts
from cvr_lightning.codec.container.pictures import HeaderScanner, PictureScanner
from cvr_lightning.codec.ffmpeg.decoder import decoded_order
from cvr_lightning.codec.mpeg4.vop_scan import VopScanner

UNREAD_WITH_VECTORS = frozenset(
    {"flv1", "h263", "h263i", "h263p", "msmpeg4v1", "msmpeg4v2", "msmpeg4v3", "wmv1", "wmv2"}
)
"""Codecs whose headers are not read here although FFmpeg exports their vectors."""


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
    mpeg4 = VopScanner(extradata) if codec == "mpeg4" else None
    scanner: PictureScanner = mpeg4 or HeaderScanner(codec, extradata)
    keys, pts, places, keyframes, discarded = _gather(demuxer, scanner, located=mpeg4 is not None)
    pictures = scanner.finish()
    given = (pictures.gives != b"") & ~np.array(discarded, bool)
    shown = _shown(demuxer, codec, np.flatnonzero(given), pictures.gives[given], pts, keys)
    if not shown:
        raise demuxer.error("it holds no frame")
    frame_packets = np.array([number for number, _ in shown], np.int64)
    dts, positions, sizes = zip(*keys, strict=True)
    first = int(pictures.starts.argmax())
    headers = mpeg4.headers if mpeg4 else []
    return PacketIndex(
        facts=_facts(demuxer, codec, demuxer.fetch(first, first, keys)),
        types=pictures.types,
        sizes=np.array(sizes, np.int64),
        pts=np.array(pts, np.int64),
        dts=np.array(dts, np.int64),
        positions=np.array(positions, np.int64),
        data_positions=np.array(places, np.int64),
        keyframes=np.array(keyframes, bool),
        starts=pictures.starts,
        reference=pictures.reference,
        rounding=pictures.rounding,
        frame_packets=frame_packets,
        frame_kinds=np.array([kind for _, kind in shown], "S1"),
        frame_sources=pictures.sources[frame_packets],
        frame_offsets=pictures.offsets[frame_packets],
        frame_sizes=pictures.sizes[frame_packets],
        frame_times=pictures.times[frame_packets],
        frame_headers=pictures.headers[frame_packets],
        headers=np.frombuffer(b"".join(headers), np.uint8),
        header_ends=np.cumsum([len(header) for header in headers], dtype=np.int64),
    )


def _gather(
    demuxer: Demuxer, scanner: PictureScanner, located: bool
) -> tuple[list[PacketKey], list[int], list[int], list[bool], list[bool]]:
    """Hand all packets to the scanner; what the container says of each.

    Returns:
        Keys, display times, places of their bytes in the file (-1 unless ``located``), the marks of keyframes
        and of packets whose frame is discarded.
    """
    keys: list[PacketKey] = []
    pts: list[int] = []
    places: list[int] = []
    keyframes: list[bool] = []
    discarded: list[bool] = []
    with demuxer.buffer() as file:
        finder = PacketFinder(file)
        for packet in demuxer.scan():
            data = bytes(packet)
            scanner.add(data, packet.is_keyframe)
            keys.append(packet_key(packet))
            pts.append(NO_TIMESTAMP if packet.pts is None else packet.pts)
            places.append(finder.find(data, keys[-1][1]) if located else -1)
            keyframes.append(packet.is_keyframe)
            discarded.append(packet.is_discard)
    return keys, pts, places, keyframes, discarded


def _shown(
    demuxer: Demuxer,
    codec: str,
    packets: npt.NDArray[np.int64],
    kinds: npt.NDArray[np.bytes_],
    pts: Sequence[int],
    keys: Sequence[PacketKey],
) -> list[tuple[int, str]]:
    """(packet, type) of the frames in display order, from those in coded order."""
    letters = kinds.tobytes().decode("ascii")
    unread = codec in UNREAD_WITH_VECTORS or (codec == "mpeg4" and "?" in letters)
    frames = list(zip(packets.tolist(), letters, strict=True))
    shown = None if unread else _display_order(codec, frames, pts)
    return decoded_order(demuxer, demuxer.fetch(0, len(keys) - 1, keys)) if shown is None else shown


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
