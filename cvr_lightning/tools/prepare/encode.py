"""Encodes decoded frames as MPEG-4 Part 2 in mp4.

Equivalent to ``ffmpeg -i IN -an -vf scale=340:256,setsar=1:1 -q:v 1 -c:v mpeg4 OUT.mp4``, except that each
decoded frame is encoded once at the source's average rate, the scaler is bit-exact, and damage is an error.
"""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import av
from av.container import OutputContainer
from av.filter import Graph
from av.video.frame import PictureType, VideoFrame
from av.video.stream import VideoStream

from cvr_lightning.tools.prepare.recipe import Recipe
from cvr_lightning.tools.prepare.source import Source

LAMBDA = 118
"""Lambda of one quantizer step on FFmpeg's quality scale."""


class Encoded(NamedTuple):
    """Result of an encoding: number of frames, and whether the source was interlaced."""

    frames: int
    interlaced: bool


def encode(source: Source, target: Path, recipe: Recipe) -> Encoded:
    """Encode the frames of a source, rotated upright and scaled, to ``target``.

    Raises:
        VideoError: The source is damaged, or rotated by an angle that is no multiple of 90 degrees.
        av.FFmpegError: The file cannot be written.
    """
    frames, interlaced, number = source.frames(), False, 0
    first = next(frames)
    swapped, turning = source.turning(first)
    aspect = source.pixel_aspect
    sides = (first.height, first.width, 1 / aspect) if swapped else (first.width, first.height, aspect)
    size, rate = recipe.size_of(*sides), source.rate
    scale = Scaler(size, turning)
    with av.open(str(target), "w", format="mp4") as container:
        stream = _add_stream(container, size, rate, recipe.gop)
        for number, frame in enumerate(chain((first,), frames)):
            interlaced |= frame.interlaced_frame
            picture = scale(frame)
            picture.pts, picture.time_base = number, 1 / rate
            picture.pict_type = PictureType.NONE  # the encoder chooses
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    return Encoded(number + 1, interlaced)


def _add_stream(container: OutputContainer, size: tuple[int, int], rate: Fraction, gop: int) -> VideoStream:
    # As -q:v 1: the quantizer is clamped to 2, mode decisions use the lambda of 1.
    quality = {"flags": "+qscale", "global_quality": str(LAMBDA)}
    stream = container.add_stream("mpeg4", rate=rate, options=quality)
    stream.width, stream.height = size
    stream.pix_fmt = "yuv420p"
    stream.gop_size, stream.max_b_frames = gop, 0
    stream.thread_count = 1  # with several threads the output depends on their number
    return stream


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
