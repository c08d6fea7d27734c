"""A strict FFmpeg decoder: frames come with the number of their packet, and errors are never concealed."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping
from typing import Any, Literal

import av
from av.codec.context import Flags2, ThreadType
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.frame import PictureType, VideoFrame
from av.video.stream import VideoStream

from cvr_lightning.codec.container.demux import Demuxer
from cvr_lightning.codec.errors import BitstreamError, reason
from cvr_lightning.codec.mpeg4 import headers as mpeg4_headers

Skip = Literal["NONE", "NONREF"]


class Decoder:
    """Decodes runs of packets of one stream, single-threaded.

    Args:
        demuxer: The file.
        frames: Frame number of each packet, for the text of errors.
        vectors: Export motion vectors.
        coded_size: Deliver all decoded samples, whole macroblocks, rather than the frame cropped for display.
        skip: Frames that the decoder need not decode.
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
        source = demuxer.stream.codec_context
        whole = source.width % 16 == 0 and source.height % 16 == 0
        self._align = coded_size and source.name == "mpeg4" and not whole
        context = av.CodecContext.create(source.codec, "r")
        assert isinstance(context, VideoCodecContext)
        extradata = source.extradata
        if extradata:
            context.extradata = mpeg4_headers.align_vols(extradata) if self._align else extradata
        if source.codec_tag.isprintable() and source.codec_tag.isascii():
            context.codec_tag = source.codec_tag  # tells FFmpeg of encoders whose streams need special care
        if source.width and source.height:
            # FFmpeg takes a size given to an H.264 decoder for a crop that comes before the stream's own.
            side = 16 if coded_size else 1
            context.width = -(-source.width // side) * side
            context.height = -(-source.height // side) * side
        context.thread_count = 1
        context.thread_type = ThreadType.NONE
        context.copy_opaque = True
        context.skip_frame = skip
        if vectors:
            context.flags2 |= Flags2.export_mvs
        if coded_size:
            context.flags2 |= Flags2.ignore_crop
        context.options = {"err_detect": "explode"}
        self._context = context

    def decode(
        self, packets: Iterable[tuple[int, Packet[VideoStream]]]
    ) -> Generator[tuple[int, VideoFrame], None, None]:
        """Decode one run, from a packet that decoding can start at.

        Args:
            packets: Packets and their numbers.

        Yields:
            Frames in display order, each with the number of its packet.

        Raises:
            BitstreamError: A packet is damaged.
        """
        number = -1
        try:
            for number, packet in packets:
                yield from self._frames(self._context.decode(self._tagged(number, packet)))
            yield from self._frames(self._context.decode(None))
        except av.FFmpegError as error:
            raise self._damage(number, f"FFmpeg cannot decode packet {number}: {reason(error)}") from error
        finally:
            if self._context.is_open:
                self._context.flush_buffers()

    def _tagged(self, number: int, packet: Packet[VideoStream]) -> Packet[VideoStream]:
        if self._align:
            data = bytes(packet)
            aligned = mpeg4_headers.align_vols(data)
            if aligned != data:
                packet = _copy(packet, aligned)
        # PyAV files the object under its address: a shared one, such as a small int, would be lost.
        packet.opaque = [number]
        return packet

    def _damage(self, packet: int, cause: str) -> BitstreamError:
        return self._demuxer.damage(cause, self._frames_of_packets.get(packet))

    def _frames(self, frames: list[VideoFrame]) -> Iterator[tuple[int, VideoFrame]]:
        for frame in frames:
            tag = frame.opaque
            if not isinstance(tag, list):
                raise self._demuxer.error("FFmpeg gave a frame that belongs to no packet")
            if frame.is_corrupt:
                raise self._damage(tag[0], f"packet {tag[0]} is damaged: FFmpeg conceals errors in its frame")
            yield tag[0], frame


def _copy(packet: Packet[Any], data: bytes) -> Packet[Any]:
    copy: Packet[Any] = Packet(data)
    copy.pts, copy.dts, copy.time_base = packet.pts, packet.dts, packet.time_base
    return copy


def decoded_order(
    demuxer: Demuxer, packets: Iterable[tuple[int, Packet[VideoStream]]]
) -> list[tuple[int, str]]:
    """(packet, type) of all frames in display order, found by decoding the whole video."""
    frames = Decoder(demuxer).decode(packets)
    return [(number, PictureType(frame.pict_type).name[0]) for number, frame in frames]
