"""Clips of a video file, in the form and with the windows of a sampling."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager
from itertools import count, islice, pairwise, takewhile
from pathlib import Path
from typing import NamedTuple, TypeVar

from cvr_lightning.codec import VideoBytes
from cvr_lightning.codec.arrays import ClipArrays, Segment
from cvr_lightning.codec.container.index import PacketIndex
from cvr_lightning.codec.errors import FETCH_AGAIN, UnreadableVideoError, UnsupportedStreamError, VideoError
from cvr_lightning.codec.prepared.form import FileInForm, VideoReader, open_in_form
from cvr_lightning.codec.windows import spread_frames, spread_segments
from cvr_lightning.datamodules.sampling import ClipSampling, view_offset

T = TypeVar("T")
_MOST_FRAMES, _MOST_PARTS = 300, 16
"""Limits of the parts of a video that are read, and held in memory, at once."""


def read_clip(
    path: str | Path | VideoBytes,
    sampling: ClipSampling,
    offsets: float | Sequence[float] = 0.5,
    index: PacketIndex | None = None,
) -> ClipArrays:
    """Read one clip of a file.

    Args:
        path: The video, or one in memory.
        sampling: How files are read into clips.
        offsets: Position of the window in its span, in [0, 1): one for all segments, or one each.
        index: The file's packet index, if known.

    Raises:
        VideoError: The file cannot be read.
    """

    def read(video: VideoReader) -> ClipArrays:
        return _read(video, sampling, _windows(video, sampling, offsets))

    return _in_form(path, sampling, index, read)


def read_view(
    path: str | Path | VideoBytes, sampling: ClipSampling, view: int, index: PacketIndex | None = None
) -> ClipArrays | None:
    """Read one temporal view of a file; None if it would repeat the frames of an earlier view.

    This happens in files too short for ``sampling.views`` distinct views.

    Args:
        path: The video, or one in memory.
        sampling: How files are read into clips.
        view: Index of the temporal view.
        index: The file's packet index, if known.

    Raises:
        VideoError: The file cannot be read.
    """

    def read(video: VideoReader) -> ClipArrays | None:
        *earlier, own = _views(video, sampling, view + 1)
        return None if own in earlier else _read(video, sampling, own)

    return _in_form(path, sampling, index, read)


def read_views(
    path: str | Path | VideoBytes, sampling: ClipSampling, index: PacketIndex | None = None
) -> list[ClipArrays]:
    """Read the temporal views of a file; those that repeat the frames of another are left out.

    Raises:
        VideoError: The file cannot be read.
    """

    def read(video: VideoReader) -> list[ClipArrays]:
        distinct = dict.fromkeys(map(tuple, _views(video, sampling, sampling.views)))
        return [_read(video, sampling, windows) for windows in distinct]

    return _in_form(path, sampling, index, read)


class Span(NamedTuple):
    """A clip of a part of a video.

    Attributes:
        start: Begin of the part in seconds.
        end: End of the part in seconds.
        arrays: The clip, or why it cannot be read.
    """

    start: float
    end: float
    arrays: ClipArrays | VideoError


def read_spans(
    path: str | Path | VideoBytes, sampling: ClipSampling, seconds: float
) -> Generator[Span, None, None]:
    """Divide a video into parts of equal length, and read a clip of each; the last part may be shorter.

    A part has the windows that a video of these frames would have, one view of them.

    Raises:
        VideoError: The file cannot be read, or states no frame rate.
    """
    with _opened(path, sampling, None) as file:
        info = file.video.info
        if not info.fps:
            raise UnsupportedStreamError(file.video.path, "it states no frame rate", "label it as a whole")
        if seconds * info.fps < 0.99:  # a video has at most one part for each of its frames
            cause = f"parts of {seconds:g} s are shorter than its frames of {1 / info.fps:g} s"
            raise UnsupportedStreamError(file.video.path, cause, "label longer parts")
        parts = _parts(info.num_frames, seconds * info.fps)
        together = min(_MOST_PARTS, max(1, int(_MOST_FRAMES / (seconds * info.fps))))
        while group := list(islice(parts, together)):
            for (first, end), arrays in zip(group, _read_parts(file, sampling, group), strict=True):
                yield Span(first / info.fps, end / info.fps, arrays)


def _parts(frames: int, length: float) -> Iterator[tuple[int, int]]:
    """First frame and end of each part of a video; ``length`` is in frames."""
    bounds = pairwise(min(round(number * length), frames) for number in count())
    for first, end in takewhile(lambda part: part[0] < frames, bounds):
        yield first, max(end, first + 1)


def _read_parts(
    file: FileInForm, sampling: ClipSampling, parts: Sequence[tuple[int, int]]
) -> Sequence[ClipArrays | VideoError]:
    """A clip of each part; what several of them need is decoded once, unless one of them cannot be read."""

    def read(video: VideoReader) -> ClipArrays:
        return _read(video, sampling, [w for part in parts for w in _part_windows(video, sampling, *part)])

    try:
        return file.read(read).split(len(parts))
    except VideoError as error:
        if len(parts) == 1:
            return [error]
    return [clip for part in parts for clip in _read_parts(file, sampling, [part])]


def _part_windows(video: VideoReader, sampling: ClipSampling, first: int, end: int) -> list[Segment]:
    """Windows of the frames ``first`` to ``end``, and of the I-frame in force at the first of them."""
    if sampling.representation == "rgb":
        begin, windows = first, spread_frames(end - first, sampling.segments)
    else:
        types = video.info.frame_types
        begin = max(types.rfind("I", 0, first + 1), 0)
        # Frames between the I-frame and the part are marked as B, so that no window contains them.
        visible = types[begin] + "B" * (first - begin - 1) + types[max(first, begin + 1) : end]
        if "I" not in visible:
            raise UnreadableVideoError(video.path, "it has no I-frame up to here", FETCH_AGAIN, first)
        pframes = 0 if sampling.modalities == ("iframes",) else sampling.pframes
        windows = spread_segments(visible, sampling.segments, pframes)
    return [Segment(begin + s.iframe, tuple(begin + frame for frame in s.pframes)) for s in windows]


def _opened(
    path: str | Path | VideoBytes, sampling: ClipSampling, index: PacketIndex | None
) -> AbstractContextManager[FileInForm]:
    return open_in_form(path, sampling.form, sampling.recipe, sampling.parser, index)


def _in_form(
    path: str | Path | VideoBytes,
    sampling: ClipSampling,
    index: PacketIndex | None,
    read: Callable[[VideoReader], T],
) -> T:
    with _opened(path, sampling, index) as file:
        return file.read(read)


def _views(video: VideoReader, sampling: ClipSampling, count: int) -> list[list[Segment]]:
    """The windows of the first temporal views."""
    return [_windows(video, sampling, view_offset(view, sampling.views)) for view in range(count)]


def _windows(reader: VideoReader, sampling: ClipSampling, offsets: float | Sequence[float]) -> list[Segment]:
    if sampling.representation == "rgb":
        return spread_frames(reader.info.num_frames, sampling.segments, offsets)
    # Without P-frames, windows only differ in their I-frames.
    pframes = 0 if sampling.modalities == ("iframes",) else sampling.pframes
    return reader.segments(sampling.segments, pframes, offsets=offsets)


def _read(reader: VideoReader, sampling: ClipSampling, windows: Sequence[Segment]) -> ClipArrays:
    if sampling.representation == "rgb":
        return reader.read_frames(windows, sampling.size, sampling.coefficients)
    return reader.read(
        windows,
        pframes=sampling.pframes,
        size=sampling.size,
        representation=sampling.representation,
        accumulate=sampling.accumulate,
        modalities=sampling.modalities,
        coefficients=sampling.coefficients,
    )
