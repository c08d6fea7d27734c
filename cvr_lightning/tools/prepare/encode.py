"""Encodes a whole source in the form of a recipe."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, groupby
from pathlib import Path
from typing import NamedTuple

from av.video.frame import VideoFrame

from cvr_lightning.codec.prepared.encode import Encoder, Scaler
from cvr_lightning.codec.prepared.recipe import Recipe
from cvr_lightning.tools.prepare.source import Source


class Encoded(NamedTuple):
    """Result of an encoding: number of frames, and whether the source was interlaced."""

    frames: int
    interlaced: bool


def encode(source: Source, target: Path, recipe: Recipe) -> Encoded:
    """Encode the frames of a source, rotated upright and scaled, to ``target``.

    Raises:
        VideoError: The source is damaged, or rotated by an angle that is not a multiple of 90 degrees.
        av.FFmpegError: The file cannot be written.
    """
    frames = source.frames()
    first = next(frames)
    swapped, turning = source.turning(first)
    aspect = source.pixel_aspect
    sides = (first.height, first.width, 1 / aspect) if swapped else (first.width, first.height, aspect)
    size = recipe.size_of(*sides)
    scale = Scaler(size, turning)
    count, interlaced = 0, False

    def scaled() -> Iterator[VideoFrame]:
        nonlocal count, interlaced
        for frame in chain((first,), frames):
            count += 1
            interlaced |= frame.interlaced_frame
            yield scale(frame)

    gops = groupby(enumerate(scaled()), lambda numbered: numbered[0] // recipe.gop)
    numbered = ((gop * recipe.gop, (frame for _, frame in group)) for gop, group in gops)
    Encoder(size, source.rate).write(str(target), "mp4", numbered)
    return Encoded(count, interlaced)
