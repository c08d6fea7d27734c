"""Clips of a video file, in the form and with the windows of a sampling."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager
from functools import partial
from itertools import count
from pathlib import Path
from typing import NamedTuple, TypeVar

from cvr_lightning.codec import VideoBytes
from cvr_lightning.codec.arrays import ClipArrays, Segment
from cvr_lightning.codec.container.index import PacketIndex
from cvr_lightning.codec.errors import FETCH_AGAIN, UnreadableVideoError, UnsupportedStreamError, VideoError
from cvr_lightning.codec.prepared.form import FileInForm, VideoReader, open_in_form
from cvr_lightning.codec.windows import frames, segments
from cvr_lightning.datamodules.sampling import ClipSampling, view_offset

T = TypeVar("T")


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


class Views(NamedTuple):
    """The distinct temporal views of a video.

    Attributes:
        arrays: The clip of each view.
        prepared: The video was prepared in memory.
    """

    arrays: list[ClipArrays]
    prepared: bool


def read_views(
    path: str | Path | VideoBytes, sampling: ClipSampling, index: PacketIndex | None = None
) -> Views:
    """Read the temporal views of a file; those that repeat the frames of another are left out.

    Raises:
        VideoError: The file cannot be read.
    """

    def read(video: VideoReader) -> list[ClipArrays]:
        distinct = dict.fromkeys(map(tuple, _views(video, sampling, sampling.views)))
        return [_read(video, sampling, windows) for windows in distinct]

    with _opened(path, sampling, index) as file:
        arrays = file.read(read)
        return Views(arrays, file.prepared)


class Span(NamedTuple):
    """A clip of a part of a video.

    Attributes:
        start: Begin of the part in seconds.
        end: End of the part in seconds.
        arrays: The clip, or why it cannot be read.
        prepared: The video was prepared in memory.
    """

    start: float
    end: float
    arrays: ClipArrays | VideoError
    prepared: bool


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
        for number in count():
            first, end = (min(round(n * seconds * info.fps), info.num_frames) for n in (number, number + 1))
            if first >= info.num_frames:
                return
            read = partial(_read_part, sampling=sampling, first=first, end=max(end, first + 1))
            arrays: ClipArrays | VideoError
            try:
                arrays = file.read(read)
            except VideoError as error:
                arrays = error
            yield Span(first / info.fps, end / info.fps, arrays, file.prepared)


def _read_part(video: VideoReader, sampling: ClipSampling, first: int, end: int) -> ClipArrays:
    """A clip of the frames ``first`` to ``end``, and of the I-frame in force at the first of them."""
    if sampling.representation == "rgb":
        begin, windows = first, frames(end - first, sampling.segments)
    else:
        types = video.info.frame_types
        begin = max(types.rfind("I", 0, first + 1), 0)
        # Frames between the I-frame and the part are marked as B, so that no window contains them.
        visible = types[begin] + "B" * (first - begin - 1) + types[max(first, begin + 1) : end]
        if "I" not in visible:
            raise UnreadableVideoError(video.path, "it has no I-frame up to here", FETCH_AGAIN, first)
        pframes = 0 if sampling.modalities == ("iframes",) else sampling.pframes
        windows = segments(visible, sampling.segments, pframes)
    moved = [Segment(begin + s.iframe, tuple(begin + frame for frame in s.pframes)) for s in windows]
    return _read(video, sampling, moved)


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
        return frames(reader.info.num_frames, sampling.segments, offsets)
    # Without P-frames, windows only differ in their I-frames.
    pframes = 0 if sampling.modalities == ("iframes",) else sampling.pframes
    return reader.segments(sampling.segments, pframes, offsets=offsets)


def _read(reader: VideoReader, sampling: ClipSampling, windows: Sequence[Segment]) -> ClipArrays:
    if sampling.representation == "rgb":
        return reader.read_frames(windows, sampling.size, sampling.coefficients)
    return reader.read(
        windows,
        t=sampling.pframes,
        size=sampling.size,
        representation=sampling.representation,
        accumulate=sampling.accumulate,
        modalities=sampling.modalities,
        coefficients=sampling.coefficients,
    )
