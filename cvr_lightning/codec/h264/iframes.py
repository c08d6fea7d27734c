"""I-frames of H.264, each decoded by FFmpeg from its own packet."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

import av
import numpy as np
import numpy.typing as npt
from av.codec.context import ThreadType
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame

from cvr_lightning.codec.fields.scaling import RgbScaler
from cvr_lightning.codec.h264.macroblocks import Coded, Stream, read_fields
from cvr_lightning.codec.h264.nal import next_unit
from cvr_lightning.codec.parser import BlockFields, BlockGrid

_START_CODE = b"\x00\x00\x00\x01"
_MOST_DECODERS = 8


class _Kept(threading.local):
    """What a thread keeps from one file to the next: opening a decoder takes as long as a few frames."""

    def __init__(self) -> None:
        self.decoders: dict[tuple[int, int, int, int], VideoCodecContext] = {}
        self.to_rgb = RgbScaler()


_kept = _Kept()


def check_whole(coded: Coded, stream: Stream, shape: tuple[int, int]) -> None:
    """Parse a picture, since FFmpeg conceals missing parts.

    Raises:
        DamagedPictureError: It is damaged.
    """
    grid = BlockGrid(np.empty(0, np.int64), np.empty(0, np.int64), np.ones(2, np.float32))
    nothing = np.empty((0, 0, 0, 0), np.float32)
    fields = BlockFields(nothing, nothing, np.empty((0, 0, 0), np.uint8))
    read_fields([coded], stream, shape, [-1], (0, 0), grid, fields)


def decode_iframe(
    packet: bytes,
    prefix: int,
    sets: Sequence[bytes],
    colors: tuple[int, int, int, int],
    size: tuple[int, int],
) -> npt.NDArray[np.uint8] | None:
    """RGB (H, W, 3) of an I-picture, None where it does not decode to one picture.

    Args:
        packet: Its packet.
        prefix: Bytes of a NAL unit's length prefix, 0 in Annex B form.
        sets: The parameter sets in force.
        colors: The container's color range, matrix, primaries and transfer, as FFmpeg numbers them.
        size: (H, W) to scale to.

    Raises:
        av.FFmpegError: It cannot be decoded.
    """
    units = [*sets, *nal_units(packet, prefix)]
    data = b"".join(_START_CODE + unit for unit in units)
    # Taken out while it works: a decoder that has met an error is not used again.
    decoder = _kept.decoders.pop(colors, None) or _open(colors)
    pictures: list[VideoFrame] = [*decoder.decode(Packet(data)), *decoder.decode(None)]
    if len(pictures) != 1:
        return None
    decoder.flush_buffers()
    if len(_kept.decoders) >= _MOST_DECODERS:
        _kept.decoders.clear()
    _kept.decoders[colors] = decoder
    return _kept.to_rgb(pictures[0], size)


def nal_units(packet: bytes, prefix: int) -> Iterator[bytes]:
    """The NAL units of a packet; ``prefix`` is the size of their length prefixes, 0 in Annex B form."""
    data, position = np.frombuffer(packet, np.uint8), 0
    while True:
        begin, end, position = next_unit(data, position, len(data), prefix)
        if begin < 0:
            return
        yield packet[begin:end]


def _open(colors: tuple[int, int, int, int]) -> VideoCodecContext:
    context = av.CodecContext.create("h264", "r")
    assert isinstance(context, VideoCodecContext)
    context.color_range, context.colorspace, context.color_primaries, context.color_trc = colors
    context.thread_count = 1
    context.thread_type = ThreadType.NONE
    # An I-picture that is not an IDR picture is complete, but FFmpeg takes it for corrupt. Errors must not
    # stop it: the picture may mark references that are missing here. Callers have parsed it (check_whole).
    context.options = {"flags": "+output_corrupt"}
    return context
