"""FFmpeg's decoders, configured as in a player; frames are returned with their packet numbers."""

from __future__ import annotations

import zlib
from collections.abc import Generator, Iterable, Mapping
from typing import Any, Literal

import numpy as np
from av.codec.context import Flags2, ThreadType
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from cvr_lightning.codec.container.demux import Demuxer
from cvr_lightning.codec.errors import PYAV_ERRORS, BitstreamError, reason
from cvr_lightning.codec.limits import PIXELS
from cvr_lightning.codec.mpeg4 import headers as mpeg4_headers

Skip = Literal["NONE", "NONREF"]


class Decoder:
    """Decodes runs of packets of one stream, single-threaded, with the container's own parameters.

    Args:
        demuxer: The file.
        frames: Frame number of each packet, for error messages.
        vectors: Export motion vectors, and output hidden frames too, since others are predicted from them.
        coded_size: Output all decoded samples (whole macroblocks) instead of the frame cropped for display.
        skip: Frames that the decoder skips.

    Raises:
        UnreadableVideoError: The decoder cannot be opened.
    """

    def __init__(
        self,
        demuxer: Demuxer,
        frames: Mapping[int, int] | None = None,
        *,
        vectors: bool = False,
        coded_size: bool = False,
        skip: Skip = "NONE",
    ) -> None:
        self._demuxer = demuxer
        self._frames_of_packets = frames or {}
        self._vectors = vectors
        context = demuxer.decoder_context()
        whole = context.width % 16 == 0 and context.height % 16 == 0
        self._align = coded_size and context.name == "mpeg4" and not whole
        if self._align and context.extradata:
            context.extradata = mpeg4_headers.align_vols(context.extradata)
        if coded_size:
            # FFmpeg's H.264 decoder applies a preset size as a crop, in addition to the stream's own.
            context.width, context.height = -(-context.width // 16) * 16, -(-context.height // 16) * 16
            context.flags2 |= Flags2.ignore_crop
        if vectors:
            context.flags2 |= Flags2.export_mvs
        context.thread_count = 1
        context.thread_type = ThreadType.NONE
        context.copy_opaque = True
        context.skip_frame = skip
        context.options = {"max_pixels": str(PIXELS.value)}
        try:
            context.open()
        except PYAV_ERRORS as error:
            raise demuxer.error(f"FFmpeg cannot open a decoder for it: {reason(error)}") from error
        self._context = context

    def decode(
        self, packets: Iterable[tuple[int, Packet[VideoStream]]], strict: bool = True
    ) -> Generator[tuple[int, VideoFrame], None, None]:
        """Decode one run.

        Args:
            packets: Packets and their numbers.
            strict: Raise on damage, except in pictures shown before the first of the run, whose references
                may be missing; otherwise continue after damage, as a player does.

        Yields:
            Frames in display order, each with the number of its packet.

        Raises:
            BitstreamError: A packet is damaged, and ``strict`` is set.
        """
        first = number = -1
        try:
            for number, packet in packets:
                first = number if first < 0 else first
                yield from self._sound(number, packet, first if strict else None)
            yield from self._sound(number, None, first if strict else None)
        finally:
            self._context.flush_buffers()

    def decode_packet(self, number: int, packet: Packet[VideoStream] | None) -> list[tuple[int, VideoFrame]]:
        """Pass a packet to the decoder and return its output; None flushes the decoder at the end of a run.

        Raises:
            BitstreamError: The packet cannot be decoded.
        """
        try:
            frames = self._context.decode(None if packet is None else self._tagged(number, packet))
        except PYAV_ERRORS as error:
            raise self._damage(number, f"FFmpeg cannot decode packet {number}: {reason(error)}") from error
        return [(tag[0] if isinstance(tag := frame.opaque, list) else number, frame) for frame in frames]

    def _sound(
        self, number: int, packet: Packet[VideoStream] | None, first: int | None
    ) -> list[tuple[int, VideoFrame]]:
        """Decode a packet; raise on damage if the run starts at the packet ``first``, not if None."""
        try:
            frames = self.decode_packet(number, packet)
        except BitstreamError:
            if first is None or self._leads(number, first):
                return []
            raise
        for tag, frame in frames:
            if frame.is_corrupt and not (first is None or self._leads(tag, first)):
                raise self._damage(tag, f"packet {tag} is damaged: FFmpeg conceals errors in its frame")
        return frames

    def _leads(self, packet: int, first: int) -> bool:
        """Whether a packet's frame is shown before that of the run's first packet."""
        begin = self._frames_of_packets.get(first, -1)
        return self._frames_of_packets.get(packet, begin) < begin

    def _tagged(self, number: int, packet: Packet[VideoStream]) -> Packet[VideoStream]:
        if self._align:
            data = bytes(packet)
            aligned = mpeg4_headers.align_vols(data)
            if aligned != data:
                packet = _copy(packet, aligned)
        if self._vectors and packet.is_discard:
            packet = _copy(packet, bytes(packet))  # without the discard flag
        # PyAV stores the object by its address, so a shared object such as a small int would be lost.
        packet.opaque = [number]
        return packet

    def _damage(self, packet: int, cause: str) -> BitstreamError:
        return self._demuxer.damage(cause, self._frames_of_packets.get(packet))


def _copy(packet: Packet[Any], data: bytes) -> Packet[Any]:
    copy: Packet[Any] = Packet(data)
    copy.pts, copy.dts, copy.time_base = packet.pts, packet.dts, packet.time_base
    copy.is_keyframe = packet.is_keyframe
    return copy


def checksum(frame: VideoFrame) -> int:
    """CRC-32 of a picture's samples and format; equal decodes have equal checksums."""
    layout = (frame.width, frame.height, frame.format.name, int(frame.colorspace), int(frame.color_range))
    crc = zlib.crc32(repr(layout).encode())
    components = frame.format.components
    if len(components) != len(frame.planes) or frame.format.has_palette:
        return zlib.crc32(frame.to_ndarray(format="rgb24").tobytes(), crc)
    for plane, component in zip(frame.planes, components, strict=True):
        rows = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, -1)
        crc = zlib.crc32(rows[:, : plane.width * (1 + (component.bits > 8))].tobytes(), crc)
    return crc
