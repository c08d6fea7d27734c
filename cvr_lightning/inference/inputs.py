"""Videos as a caller has them: paths, bytes, open files."""

from __future__ import annotations

import os
from io import BytesIO
from typing import Any, BinaryIO

from av.video.frame import VideoFrame

from cvr_lightning.codec import VideoBytes
from cvr_lightning.codec.arrays import ClipArrays
from cvr_lightning.codec.errors import VideoError
from cvr_lightning.codec.prepared.encode import FALLBACK_RATE, Encoder
from cvr_lightning.datamodules.clips import read_views
from cvr_lightning.datamodules.sampling import ClipSampling

Video = str | os.PathLike[str] | bytes | BinaryIO
Videos = list[Any] | tuple[Any, ...]
"""Several of them; a type of its own, since a path is a sequence of strings too."""
_UNNAMED = "video in memory"


def opened(video: Video) -> str | VideoBytes:
    """What a reader opens: a path, or the bytes of a file."""
    if isinstance(video, bytes | bytearray | memoryview):
        return VideoBytes(_UNNAMED, bytes(video))
    if isinstance(video, str | os.PathLike):
        return os.fspath(video)
    return VideoBytes(str(getattr(video, "name", _UNNAMED)), video.read())


def views_or_error(video: Video, sampling: ClipSampling) -> list[ClipArrays] | VideoError:
    """The distinct temporal views of a video, or the reading error."""
    try:
        return read_views(opened(video), sampling)
    except VideoError as error:
        return error


def small_video(frames: int) -> VideoBytes:
    """A GOP of empty frames, to warm up."""
    size, file = (64, 64), BytesIO()
    pictures = [VideoFrame(*size, "yuv420p") for _ in range(frames)]
    Encoder(size, FALLBACK_RATE).write(file, "nut", [(0, pictures)])
    return VideoBytes("warm-up", file.getvalue())
