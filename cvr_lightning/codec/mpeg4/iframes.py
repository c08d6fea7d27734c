"""I-frames of MPEG-4 Part 2, each decoded by FFmpeg from its own VOP."""

from __future__ import annotations

import threading

import av
import numpy as np
import numpy.typing as npt
from av.codec.context import ThreadType
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame

from cvr_lightning.codec.index import StreamFacts
from cvr_lightning.codec.scaling import RgbScaler

_MOST_DECODERS = 8


class _Kept(threading.local):
    """What a thread keeps from one file to the next, since the files of a data set are alike.

    To open a decoder and to set up a scaler takes as long as to decode a few frames.
    """

    def __init__(self) -> None:
        self.decoders: dict[tuple[str, str, int, int, bytes], VideoCodecContext] = {}
        self.to_rgb = RgbScaler()


_kept = _Kept()


def decode_iframe(
    vop: bytes, facts: StreamFacts, header: bytes, size: tuple[int, int]
) -> npt.NDArray[np.uint8] | None:
    """RGB (H, W, 3) of an I-VOP, None where it does not decode to one sound picture.

    Args:
        vop: Its bytes.
        facts: The stream.
        header: The sequence header in force.
        size: (H, W) to scale to.

    Raises:
        av.FFmpegError: It cannot be decoded.
    """
    key = (facts.codec, facts.codec_tag, facts.width, facts.height, header)
    # Taken out while it works: a decoder that has met an error is not used again.
    decoder = _kept.decoders.pop(key, None) or _open(facts, header)
    pictures: list[VideoFrame] = [*decoder.decode(Packet(vop)), *decoder.decode(None)]
    if len(pictures) != 1 or pictures[0].is_corrupt:
        return None
    decoder.flush_buffers()
    while len(_kept.decoders) >= _MOST_DECODERS:
        del _kept.decoders[next(iter(_kept.decoders))]
    _kept.decoders[key] = decoder
    return _kept.to_rgb(pictures[0], size)


def _open(facts: StreamFacts, header: bytes) -> VideoCodecContext:
    context = av.CodecContext.create(facts.codec, "r")
    assert isinstance(context, VideoCodecContext)
    context.extradata = header
    if facts.codec_tag.isprintable() and facts.codec_tag.isascii():
        context.codec_tag = facts.codec_tag  # tells FFmpeg of encoders whose streams need special care
    context.width, context.height = facts.width, facts.height
    context.thread_count = 1
    context.thread_type = ThreadType.NONE
    context.options = {"err_detect": "explode"}
    return context
