"""Encodes frames as MPEG-4 Part 2, each GOP on its own.

Equivalent to ``ffmpeg -i IN -an -vf scale=340:256,setsar=1:1 -q:v 1 -sc_threshold 1000000000 -c:v mpeg4``,
except that each decoded frame is encoded once at the source's average rate, and that the scaler is bit-exact.
A GOP has an encoder of its own, so its bytes depend on its frames alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction
from io import BytesIO

import av
from av.filter import Graph
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.frame import PictureType, VideoFrame
from av.video.stream import VideoStream

from cvr_lightning.codec.prepared.recipe import MAX_GOP

LAMBDA = 118
"""Lambda of one quantizer step on FFmpeg's quality scale."""
FALLBACK_RATE = Fraction(25)
_MAX_TICKS = 0xFFFF  # vop_time_increment_resolution has 16 bits (ISO/IEC 14496-2, 6.3.3)
_OPTIONS = {
    # As -q:v 1: the quantizer is clamped to 2, mode decisions use the lambda of 1.
    "flags": "+qscale+global_header",
    "global_quality": str(LAMBDA),
    "sc_threshold": "1000000000",  # no I-frames at scene cuts: the GOPs form a fixed grid
}


def source_rate(stream: VideoStream) -> Fraction:
    """A video's average frame rate as a fraction that MPEG-4 Part 2 can store; 25 if unknown."""
    rate = Fraction(stream.average_rate or stream.guessed_rate or 0).limit_denominator(1001)
    return rate if 0 < rate.numerator <= _MAX_TICKS else FALLBACK_RATE


class Encoder:
    """Encodes GOPs of frames.

    Args:
        size: (W, H) of the frames.
        rate: Frames per second.
    """

    def __init__(self, size: tuple[int, int], rate: Fraction) -> None:
        self._size = size
        self._rate = rate

    def write(
        self, file: str | BytesIO, container: str, gops: Iterable[tuple[int, Iterable[VideoFrame]]]
    ) -> None:
        """Write a file.

        Args:
            file: Its path, or a buffer.
            container: FFmpeg's name of the container.
            gops: The number of the first frame of each GOP, and its frames in their final size.

        Raises:
            av.FFmpegError: The file cannot be written.
        """
        with av.open(file, "w", format=container) as output:
            stream = output.add_stream("mpeg4", rate=self._rate)
            self._set(stream.codec_context)
            output.start_encoding()
            for first, frames in gops:
                for packet in self._encode(first, frames):
                    packet.stream = stream
                    output.mux(packet)

    def _encode(self, first: int, frames: Iterable[VideoFrame]) -> Iterator[Packet[VideoStream]]:
        context = VideoCodecContext.create("mpeg4", "w")
        self._set(context)
        for number, frame in enumerate(frames, first):
            frame.pts, frame.time_base = number, 1 / self._rate
            frame.pict_type = PictureType.NONE  # the encoder chooses
            yield from context.encode(frame)
        yield from context.encode(None)

    def _set(self, context: VideoCodecContext) -> None:
        context.width, context.height = self._size
        context.pix_fmt = "yuv420p"
        context.time_base, context.framerate = 1 / self._rate, self._rate
        context.gop_size, context.max_b_frames = MAX_GOP, 0  # a GOP ends with its encoder
        context.thread_count = 1  # with several threads the output depends on their number
        context.options = dict(_OPTIONS)


class Scaler:
    """Rotates and scales frames to 4:2:0, limited range, square pixels.

    Args:
        size: Output (W, H).
        turning: Rotation filters, applied first.
    """

    def __init__(self, size: tuple[int, int], turning: Iterable[str] = ()) -> None:
        scale = f"scale={size[0]}:{size[1]}:flags=bicubic+accurate_rnd+bitexact:out_range=limited"
        self._filters = [*turning, scale, "format=yuv420p", "setsar=1", "buffersink"]
        self._graph = Graph()
        self._input: tuple[int, int, str] | None = None

    def __call__(self, frame: VideoFrame) -> VideoFrame:
        """Convert one frame; the input size may change within a video."""
        kind = (frame.width, frame.height, frame.format.name)
        if kind != self._input:
            self._graph, self._input = self._configure(frame), kind
        self._graph.vpush(frame)
        return self._graph.vpull()

    def _configure(self, frame: VideoFrame) -> Graph:
        graph = Graph()
        graph.threads = 1
        tick = Fraction(1, 25)  # arbitrary: timestamps are set when a frame is encoded
        nodes = [
            graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=tick),
            *(graph.add(*text.split("=", 1)) for text in self._filters),
        ]
        graph.link_nodes(*nodes).configure(auto_buffer=False)
        return graph
