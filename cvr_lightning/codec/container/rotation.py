"""How the frames of a file are turned for display."""

from __future__ import annotations

from typing import Any

import av
import numpy as np
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from cvr_lightning.codec.errors import FETCH_AGAIN, PREPARE, BitstreamError, UnsupportedStreamError, reason

_TURNING_CODECS = frozenset({"h264", "hevc"})  # a display orientation SEI message may turn them
_TURNING_FORMATS = frozenset({"mov", "mp4", "matroska", "webm"})  # containers with a display matrix


def display_rotation(path: str, container: InputContainer, packet: Packet[VideoStream]) -> int:
    """Degrees counter-clockwise by which frames are turned for display: 0, 90, 180 or 270.

    Args:
        path: The file, for messages.
        container: Where the packet comes from.
        packet: A packet that decoding can start at; only decoded frames tell.

    Raises:
        BitstreamError: The packet is damaged.
        UnsupportedStreamError: Frames are to be mirrored or turned by another angle.
    """
    context = packet.stream.codec_context
    if context.name not in _TURNING_CODECS and not _TURNING_FORMATS & set(container.format.name.split(",")):
        return 0
    try:
        frames = [*context.decode(packet), *context.decode(None)]
    except av.FFmpegError as error:
        cause = f"FFmpeg cannot decode its first I-frame: {reason(error)}"
        raise BitstreamError(path, cause, FETCH_AGAIN) from error
    finally:
        context.flush_buffers()
    matrix: Any = frames[0].side_data.get("DISPLAYMATRIX") if frames else None
    if matrix is None:
        return 0
    a, b, _, c, d = np.frombuffer(memoryview(matrix), np.int32)[:5].tolist()
    turned = sorted((abs(a), abs(b))) == [0, max(abs(a), abs(b))] and (a, b) == (d, -c)
    if not turned:
        raise UnsupportedStreamError(path, "its frames are displayed mirrored or turned askew", PREPARE)
    return frames[0].rotation % 360
