"""I-frames of MPEG-4 Part 2, each decoded by FFmpeg from its own VOP."""

from __future__ import annotations

import threading
from typing import NamedTuple

import av
import numpy as np
import numpy.typing as npt
from av.codec.context import ThreadType
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame

from cvr_lightning.codec.fields.scaling import RgbScaler

_MOST_DECODERS = 8
UNSPECIFIED_COLORS = (0, 2, 2, 2)
"""What a container says that does not speak of colors."""


class Coding(NamedTuple):
    """What a decoder is opened with.

    Attributes:
        codec_tag: The container's name of the codec.
        width: Width of the frames.
        height: Height of the frames.
        header: The sequence header.
        colors: The container's color range, matrix, primaries and transfer, as FFmpeg numbers them.
    """

    codec_tag: str
    width: int
    height: int
    header: bytes
    colors: tuple[int, int, int, int] = UNSPECIFIED_COLORS


class _Kept(threading.local):
    """What a thread keeps from one file to the next, since the files of a data set are alike.

    To open a decoder and to set up a scaler takes as long as to decode a few frames.
    """

    def __init__(self) -> None:
        self.decoders: dict[Coding, VideoCodecContext] = {}
        self.to_rgb = RgbScaler()


_kept = _Kept()


def decode_iframe(vop: bytes, coding: Coding, size: tuple[int, int]) -> npt.NDArray[np.uint8] | None:
    """RGB (H, W, 3) of an I-VOP, None where it does not decode to one sound picture.

    Args:
        vop: Its bytes.
        coding: The coding in force.
        size: (H, W) to scale to.

    Raises:
        av.FFmpegError: It cannot be decoded.
    """
    # Taken out while it works: a decoder that has met an error is not used again.
    decoder = _kept.decoders.pop(coding, None) or _open(coding)
    pictures: list[VideoFrame] = [*decoder.decode(Packet(vop)), *decoder.decode(None)]
    if len(pictures) != 1 or pictures[0].is_corrupt:
        return None
    decoder.flush_buffers()
    while len(_kept.decoders) >= _MOST_DECODERS:
        del _kept.decoders[next(iter(_kept.decoders))]
    _kept.decoders[coding] = decoder
    return _kept.to_rgb(pictures[0], size)


def _open(coding: Coding) -> VideoCodecContext:
    context = av.CodecContext.create("mpeg4", "r")
    assert isinstance(context, VideoCodecContext)
    context.extradata = coding.header
    if coding.codec_tag.isprintable() and coding.codec_tag.isascii():
        context.codec_tag = coding.codec_tag  # tells FFmpeg of encoders whose streams need special care
    context.width, context.height = coding.width, coding.height
    context.color_range, context.colorspace, context.color_primaries, context.color_trc = coding.colors
    context.thread_count = 1
    context.thread_type = ThreadType.NONE
    context.options = {"err_detect": "explode"}
    return context
