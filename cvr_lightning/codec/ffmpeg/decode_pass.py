"""Full decode of a video, which yields the frames and frame numbers of a player."""

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
from cvr_lightning.codec.limits import PIXELS, check_size


class ShownFrame(NamedTuple):
    """A frame that is shown.

    Attributes:
        packet: The packet that contains the frame.
        kind: Frame type, one letter.
        end: The last packet passed to the decoder before it output the frame.
        checksum: :func:`cvr_lightning.codec.ffmpeg.decoder.checksum` of the frame.
    """

    packet: int
    kind: str
    end: int
    checksum: int


class Look(NamedTuple):
    """Format of the frames, from a decoded frame.

    Attributes:
        width: Width in pixels, before rotation.
        height: Height in pixels, before rotation.
        pixel_format: FFmpeg's name of the pixel format.
        rotation: Rotation for display in degrees counterclockwise.
    """

    width: int
    height: int
    pixel_format: str
    rotation: int


class DecodedVideo(NamedTuple):
    """Result of a full decode.

    Attributes:
        frames: The frames in display order.
        damaged: Packets that cannot be decoded, or whose frames have concealed errors.
        look: Format of the first frame.
        interlaced: At least one frame is interlaced.
    """

    frames: list[ShownFrame]
    damaged: set[int]
    look: Look
    interlaced: bool


def decode_pass(demuxer: Demuxer, packets: Iterable[tuple[int, Packet[VideoStream]]]) -> DecodedVideo:
    """Decode a whole video.

    Args:
        demuxer: The file.
        packets: All packets with their numbers.

    Raises:
        UnreadableVideoError: No frame can be decoded.
        UnsupportedStreamError: The first frame is too large, or its display transform is not supported.
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
        cause = f"FFmpeg decodes no frame of it (larger ones than {PIXELS.value} pixels are not tried)"
        raise demuxer.error(cause)
    return DecodedVideo(shown, damaged, look, interlaced)


def look_of(demuxer: Demuxer, frame: VideoFrame) -> Look:
    """Read the format of a frame.

    Raises:
        UnsupportedStreamError: The frame is too large, or its display transform is not supported.
    """
    check_size(demuxer.path, frame.width, frame.height)
    return Look(frame.width, frame.height, frame.format.name, display_rotation(demuxer.path, frame))


def _kind(frame: VideoFrame) -> str:
    """The type of a frame; some decoders report only keyframes."""
    if frame.pict_type:
        return PictureType(frame.pict_type).name[0]
    return "I" if frame.key_frame else "?"
