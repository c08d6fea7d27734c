"""I-frames of MPEG-4 Part 2, each decoded from its VOP by FFmpeg."""

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
"""Color parameters of a container that does not specify colors."""


class Coding(NamedTuple):
    """Parameters for opening a decoder.

    Attributes:
        codec_tag: The container's codec tag.
        width: Width of the frames.
        height: Height of the frames.
        header: The sequence header.
        colors: The container's color range, matrix, primaries and transfer, in FFmpeg's numbering.
    """

    codec_tag: str
    width: int
    height: int
    header: bytes
    colors: tuple[int, int, int, int] = UNSPECIFIED_COLORS


class _Kept(threading.local):
    """State that a thread reuses between files, since the files of a data set have similar headers.

    Opening a decoder and setting up a scaler take as long as decoding a few frames.
    """

    def __init__(self) -> None:
        self.decoders: dict[Coding, VideoCodecContext] = {}
        self.to_rgb = RgbScaler()


_kept = _Kept()


def decode_iframe(vop: bytes, coding: Coding, size: tuple[int, int]) -> npt.NDArray[np.uint8] | None:
    """Decode an I-VOP to RGB (H, W, 3); None if it does not decode to one intact picture.

    Args:
        vop: The VOP.
        coding: Parameters of the decoder.
        size: (H, W) of the output.

    Raises:
        av.FFmpegError: It cannot be decoded.
    """
    # Removed while in use, so that a decoder is not reused after an error.
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
        context.codec_tag = coding.codec_tag  # lets FFmpeg apply workarounds for known encoders
    context.width, context.height = coding.width, coding.height
    context.color_range, context.colorspace, context.color_primaries, context.color_trc = coding.colors
    context.thread_count = 1
    context.thread_type = ThreadType.NONE
    context.options = {"err_detect": "explode"}
    return context
