"""Clips of a video file, in the form and with the windows of a sampling."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

from cvr_lightning.codec import VideoBytes
from cvr_lightning.codec.arrays import ClipArrays, Segment
from cvr_lightning.codec.container.index import PacketIndex
from cvr_lightning.codec.prepared.form import VideoReader, read_in_form
from cvr_lightning.codec.prepared.reader import PreparedVideoReader
from cvr_lightning.codec.windows import frames
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

    def read(video: VideoReader) -> Views:
        distinct = dict.fromkeys(map(tuple, _views(video, sampling, sampling.views)))
        arrays = [_read(video, sampling, windows) for windows in distinct]
        return Views(arrays, isinstance(video, PreparedVideoReader))

    return _in_form(path, sampling, index, read)


def _in_form(
    path: str | Path | VideoBytes,
    sampling: ClipSampling,
    index: PacketIndex | None,
    read: Callable[[VideoReader], T],
) -> T:
    return read_in_form(path, read, sampling.form, sampling.recipe, sampling.parser, index)


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
