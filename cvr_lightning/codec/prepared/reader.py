"""Reads any video as if ``cvr prepare`` had written it, without writing it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction
from io import BytesIO
from itertools import islice

from av.video.frame import VideoFrame

from cvr_lightning.codec.arrays import MODALITIES, ClipArrays, Modality, Representation, Segment
from cvr_lightning.codec.container.demux import VideoBytes
from cvr_lightning.codec.container.info import StreamInfo
from cvr_lightning.codec.container.rotation import upright_filters
from cvr_lightning.codec.errors import UnsupportedStreamError
from cvr_lightning.codec.ffmpeg.parser import FFmpegParser
from cvr_lightning.codec.prepared.encode import Encoder, Scaler, source_rate
from cvr_lightning.codec.prepared.recipe import MAX_SIDE, RECIPE, Recipe
from cvr_lightning.codec.reader import CompressedVideoReader
from cvr_lightning.codec.windows import check_segments, spread_segments


class PreparedVideoReader:
    """Reads a video in the form of a recipe, with the methods of a :class:`CompressedVideoReader`.

    The frames of the GOPs that are needed are decoded, scaled and encoded in memory, and parsed like any
    file: the arrays equal those of the file that ``cvr prepare`` would write.

    Args:
        source: The opened video; closing it is left to the caller.
        recipe: The form.

    Attributes:
        path: The video.
        info: Summary of the video in this form; the bit rate is unknown (0).

    Examples:
        >>> with CompressedVideoReader("phone.mov") as source:  # doctest: +SKIP
        ...     video = PreparedVideoReader(source)
        ...     clip = video.read(video.segments(8, pframes=3), size=(256, 340))
    """

    parser = "mpeg4"

    def __init__(self, source: CompressedVideoReader, recipe: Recipe = RECIPE) -> None:
        self.path = source.path
        self.recipe = recipe
        self._demuxer = source._demuxer
        self._parser = FFmpegParser(self._demuxer, source.index)
        self._scaler: Scaler | None = None
        aspect = source.pixel_aspect if recipe.size is None else Fraction(1)
        self._size = recipe.size_of(source.info.width, source.info.height, aspect)
        if max(self._size) > MAX_SIDE:
            cause = f"its shape gives prepared frames of {self._size[0]}x{self._size[1]} pixels"
            raise UnsupportedStreamError(self.path, cause, "choose a fixed size, or leave it out")
        self._rate = source_rate(self._demuxer.stream)
        self.info = self._describe(source.info.num_frames)

    def _describe(self, frames: int) -> StreamInfo:
        gops, rest = divmod(frames, self.recipe.gop)
        lengths = (*[self.recipe.gop] * gops, *[rest] * bool(rest))
        width, height = self._size
        return StreamInfo(
            codec="mpeg4",
            profile="Simple Profile",
            pixel_format="yuv420p",
            width=width,
            height=height,
            rotation=0,
            num_frames=frames,
            frame_types="".join("I" + "P" * (length - 1) for length in lengths),
            gop_lengths=lengths,
            fps=float(self._rate),
            duration=float(frames / self._rate),
            bit_rate=0,
            has_b_frames=False,
        )

    @property
    def reason(self) -> str:
        """How the video is read."""
        return f"prepared in memory: {self.recipe}"

    def segments(self, segments: int, pframes: int, offsets: float | Sequence[float] = 0.5) -> list[Segment]:
        """Spread segments over the video, see :meth:`CompressedVideoReader.segments`."""
        return spread_segments(self.info.frame_types, segments, pframes, offsets)

    def read(
        self,
        segments: Sequence[Segment],
        pframes: int | None = None,
        size: tuple[int, int] | None = None,
        representation: Representation = "block",
        accumulate: bool = False,
        modalities: Sequence[Modality] = MODALITIES,
        coefficients: tuple[int, int] = (16, 4),
    ) -> ClipArrays:
        """Read segments, see :meth:`CompressedVideoReader.read`."""
        check_segments(segments, self.info.frame_types, self.path)
        with self._excerpt(segments) as (excerpt, moved):
            arrays = excerpt.read(moved, pframes, size, representation, accumulate, modalities, coefficients)
        return replace(arrays, prepared=True)

    def read_frames(
        self,
        segments: Sequence[Segment],
        size: tuple[int, int] | None = None,
        coefficients: tuple[int, int] = (16, 4),
    ) -> ClipArrays:
        """Decode frames, see :meth:`CompressedVideoReader.read_frames`."""
        with self._excerpt(segments) as (excerpt, moved):
            arrays = excerpt.read_frames(moved, size, coefficients)
        return replace(arrays, prepared=True)

    @contextmanager
    def _excerpt(self, segments: Sequence[Segment]) -> Iterator[tuple[CompressedVideoReader, list[Segment]]]:
        """A video of the needed GOPs, each up to its last needed frame, and the segments in it."""
        lengths: dict[int, int] = {}
        for frame in (frame for segment in segments for frame in (segment.iframe, *segment.pframes)):
            first = frame - frame % self.recipe.gop
            lengths[first] = max(lengths.get(first, 0), frame - first + 1)
        gops = sorted(lengths.items())
        wanted = [first + number for first, length in gops for number in range(length)]
        file = BytesIO()
        pictures = self._parser.pictures(wanted, self._scaled)
        parts = ((first, islice(pictures, length)) for first, length in gops)
        Encoder(self._size, self._rate).write(file, "nut", parts)
        place = {frame: number for number, frame in enumerate(wanted)}
        moved = [Segment(place[s.iframe], tuple(place[frame] for frame in s.pframes)) for s in segments]
        with CompressedVideoReader(VideoBytes(self.path, file.getvalue()), parser="mpeg4") as excerpt:
            yield excerpt, moved

    def _scaled(self, frame: VideoFrame) -> VideoFrame:
        if self._scaler is None:
            self._scaler = Scaler(self._size, upright_filters(self.path, frame)[1])
        return self._scaler(frame)
