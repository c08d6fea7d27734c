"""The frames of a video as a full decode gives them: what a player shows, with the numbers a player gives."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from av.packet import Packet
from av.video.frame import PictureType, VideoFrame
from av.video.stream import VideoStream

from cvr_lightning.codec.container.demux import Demuxer
from cvr_lightning.codec.container.rotation import display_rotation
from cvr_lightning.codec.errors import BitstreamError
from cvr_lightning.codec.ffmpeg.decoder import Decoder, checksum
from cvr_lightning.codec.limits import check_size, max_pixels


class ShownFrame(NamedTuple):
    """A frame that is shown.

    Attributes:
        packet: The packet that holds it.
        kind: Its type, one letter.
        end: The last packet that a decoder was given before it gave the frame.
        checksum: :func:`cvr_lightning.codec.ffmpeg.decoder.checksum` of it.
    """

    packet: int
    kind: str
    end: int
    checksum: int


class Look(NamedTuple):
    """What a decoded frame tells of how frames look.

    Attributes:
        width: Width in pixels, before it is turned.
        height: Height.
        pixel_format: FFmpeg's name of the pixel format.
        rotation: Degrees counter-clockwise by which frames are turned for display.
    """

    width: int
    height: int
    pixel_format: str
    rotation: int


class DecodedVideo(NamedTuple):
    """What a full decode gives.

    Attributes:
        frames: The frames in the order in which they are shown.
        damaged: Packets that cannot be decoded, or whose frames hold concealed errors.
        look: How the first frame looks.
        interlaced: A frame is interlaced.
    """

    frames: list[ShownFrame]
    damaged: set[int]
    look: Look
    interlaced: bool


def decode_pass(demuxer: Demuxer, packets: Iterable[tuple[int, Packet[VideoStream]]]) -> DecodedVideo:
    """Decode a whole video.

    Args:
        demuxer: The file.
        packets: All of its packets with their numbers.

    Raises:
        UnreadableVideoError: No frame comes out.
        UnsupportedStreamError: The first is too large, or displayed in a way that no reader gives.
    """
    decoder = Decoder(demuxer)
    shown: list[ShownFrame] = []
    damaged: set[int] = set()
    look: Look | None = None
    interlaced = False

    def take(number: int, packet: Packet[VideoStream] | None) -> None:
        nonlocal look, interlaced
        try:
            frames = decoder.decode_packet(number, packet)
        except BitstreamError:
            damaged.add(number)
            return
        for tag, frame in frames:
            look = look or look_of(demuxer, frame)
            interlaced = interlaced or frame.interlaced_frame
            if frame.is_corrupt:
                damaged.add(tag)
            shown.append(ShownFrame(tag, _kind(frame), number, checksum(frame)))

    number = -1
    for number, packet in packets:
        take(number, packet)
    take(number, None)
    if look is None:
        cause = f"FFmpeg decodes no frame of it (larger ones than {max_pixels()} pixels are not tried)"
        raise demuxer.error(cause)
    return DecodedVideo(shown, damaged, look, interlaced)


def look_of(demuxer: Demuxer, frame: VideoFrame) -> Look:
    """How a frame looks.

    Raises:
        UnsupportedStreamError: It is too large, or displayed in a way that no reader gives.
    """
    check_size(demuxer.path, frame.width, frame.height)
    return Look(frame.width, frame.height, frame.format.name, display_rotation(demuxer.path, frame))


def _kind(frame: VideoFrame) -> str:
    """The type of a frame; some decoders tell no more than which are keyframes."""
    if frame.pict_type:
        return PictureType(frame.pict_type).name[0]
    return "I" if frame.key_frame else "?"
