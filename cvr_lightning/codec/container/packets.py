"""Packet streams from a file, a pipe, a camera or another source."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from cvr_lightning.codec.container.demux import Demuxer, best_video
from cvr_lightning.codec.container.opening import open_container
from cvr_lightning.codec.container.rotation import display_rotation, may_turn
from cvr_lightning.codec.errors import (
    FETCH_AGAIN,
    PREPARE,
    PYAV_ERRORS,
    UnreadableVideoError,
    UnsupportedStreamError,
    reason,
)

STDIN = "-"
"""The name of standard input."""
UNSPECIFIED_COLORS = (0, 2, 2, 2)
"""FFmpeg's numbers of colors that nothing specifies."""
_STREAMABLE = "send a container that can be read from its front: AVI, Matroska, MPEG-TS, MP4 with +faststart"


class StreamPacket(NamedTuple):
    """One packet of a container or network stream, usually one frame.

    Attributes:
        data: Content of the packet.
        seconds: Display time of the frame, None if unknown.
        damaged: Bytes are known to be missing.
    """

    data: bytes
    seconds: float | None = None
    damaged: bool = False


@dataclass(frozen=True)
class PacketStream:
    """A stream of packets and the parameters needed to read them.

    Attributes:
        packets: The packets in coded order; the stream may be endless.
        name: Name of the video for messages.
        codec: FFmpeg's name of the codec.
        codec_tag: The container's codec tag, which identifies encoders with known bugs; may be empty.
        header: Sequence headers stored outside the packets; empty if the packets contain them.
        colors: Color range, matrix, primaries and transfer of the container, in FFmpeg's numbering.
    """

    packets: Iterable[StreamPacket]
    name: str = "stream"
    codec: str = "mpeg4"
    codec_tag: str = ""
    header: bytes = b""
    colors: tuple[int, int, int, int] = UNSPECIFIED_COLORS


@contextmanager
def open_packets(path: str | os.PathLike[str]) -> Iterator[PacketStream]:
    """Open the packets of a file or pipe; it is closed at the end of the ``with`` block.

    Args:
        path: A file, a named pipe, or ``"-"`` for standard input.

    Raises:
        UnreadableVideoError: The source is missing, empty, or holds no video.
    """
    name = os.fspath(path)
    if name != STDIN and not Path(name).is_fifo():
        with contextlib.closing(Demuxer(name)) as demuxer:
            yield packets_of(demuxer.container, name)
        return
    # Unbuffered: a buffered file would delay an available frame until a whole block has arrived.
    file = sys.stdin.fileno() if name == STDIN else name
    with (
        open(file, "rb", buffering=0, closefd=name != STDIN) as pipe,
        open_container(pipe, name, _STREAMABLE) as container,
    ):
        yield _packets_of(container, name, _STREAMABLE)


def packets_of(container: InputContainer, name: str) -> PacketStream:
    """Stream the packets of an open container, such as a camera opened with ``av.open("rtsp://...")``.

    Args:
        container: The container; the caller closes it.
        name: Name for messages.

    Raises:
        UnreadableVideoError: The container has no video stream.
    """
    return _packets_of(container, name, FETCH_AGAIN)


def _packets_of(container: InputContainer, name: str, remedy: str) -> PacketStream:
    stream = best_video(name, container)
    context = stream.codec_context
    return PacketStream(
        packets=_packets(container, stream, name, remedy),
        name=name,
        codec=context.codec.canonical_name,
        codec_tag=context.codec_tag,
        header=context.extradata or b"",
        colors=(
            int(context.color_range),
            int(context.colorspace),
            int(context.color_primaries),
            int(context.color_trc),
        ),
    )


def _packets(
    container: InputContainer, stream: VideoStream, name: str, remedy: str
) -> Iterator[StreamPacket]:
    number, upright = 0, False
    try:
        for packet in container.demux(stream):
            if not packet.size or packet.is_discard:
                continue
            if packet.is_keyframe and not upright:
                upright = _is_upright(container, packet, name)
            number += 1
            yield StreamPacket(bytes(packet), _seconds(packet), packet.is_corrupt)
    except PYAV_ERRORS as error:
        cause = f"the container breaks off after packet {number}: {reason(error)}"
        raise UnreadableVideoError(name, cause, remedy) from error


def _is_upright(container: InputContainer, packet: Packet[VideoStream], name: str) -> bool:
    """Whether frames are displayed without rotation; false if the packet is too damaged to tell."""
    context = packet.stream.codec_context
    if not may_turn(container, context.name):
        return True
    try:
        frames = [*context.decode(packet), *context.decode(None)]
    except PYAV_ERRORS:
        return False
    finally:
        context.flush_buffers()
    rotation = display_rotation(name, frames[0]) if frames else 0
    if rotation:
        raise UnsupportedStreamError(name, f"its frames are displayed turned by {rotation} degrees", PREPARE)
    return bool(frames)


def _seconds(packet: Packet[VideoStream]) -> float | None:
    time = packet.dts if packet.pts is None else packet.pts
    return None if time is None or packet.time_base is None else float(time * packet.time_base)
