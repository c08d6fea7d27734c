"""The only module that lets FFmpeg open a source."""

from __future__ import annotations

import errno
import io
import os
import stat
from typing import IO, Any

import av
from av.container import InputContainer

from cvr_lightning.codec.errors import FETCH_AGAIN, PYAV_ERRORS, UnreadableVideoError, reason
from cvr_lightning.codec.limits import PIXELS

FORMATS = (
    *("mov", "mp4", "matroska", "webm", "avi", "mpeg", "mpegts", "mpegvideo", "asf", "asf_o", "flv", "ogg"),
    *("nut", "mxf", "gxf", "dv", "ivf", "rm", "wtv", "nsv", "nuv", "gif", "apng", "swf", "yuv4mpegpipe"),
    *("h261", "h263", "h264", "hevc", "vvc", "evc", "m4v", "mjpeg", "av1", "obu", "vc1", "vc1test", "dirac"),
    *("wav", "mp3", "flac", "aac"),  # no video: opened only to report that
    *("cavsvideo", "avs2", "avs3", "dnxhd", "apv", "smk", "bink", "film_cpk", "flic", "roq", "live_flv"),
)
"""Containers that hold the video itself; formats that refer to other files are excluded."""


def open_container(
    source: str | io.BytesIO | IO[bytes], name: str, remedy: str = FETCH_AGAIN
) -> InputContainer:
    """Open a video for reading; its content cannot make FFmpeg open another file, device or address.

    Args:
        source: Path of a regular file, not a URL; or bytes, or an open pipe.
        name: Name for messages.
        remedy: Advice in errors.

    Raises:
        UnreadableVideoError: Not a regular file, or FFmpeg cannot open it as one of :data:`FORMATS`.
    """
    options = {
        "format_whitelist": ",".join(FORMATS),
        "protocol_whitelist": "pipe",
        "max_pixels": str(PIXELS.value),
    }
    file: Any = source
    if isinstance(source, str):
        require_regular(source, name)
        # An absolute path cannot be mistaken for a protocol.
        file, options["protocol_whitelist"] = os.path.abspath(source), "file"
    try:
        container: InputContainer = av.open(file, mode="r", metadata_errors="replace", options=options)
    except PYAV_ERRORS as error:
        cause = f"FFmpeg cannot open it: {reason(error)}"
        if getattr(error, "errno", None) == errno.EINVAL:
            cause = "it is not a video container; playlists and scripts that name other files are not opened"
        raise UnreadableVideoError(name, cause, remedy) from error
    return container


def require_regular(path: str, name: str) -> None:
    """Reject pipes, sockets and devices, which may block or act when opened.

    Raises:
        UnreadableVideoError: The path does not exist, or is not a regular file.
    """
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        raise UnreadableVideoError(name, "no such file", "check the path") from error
    except ValueError as error:  # the path contains a null byte
        raise UnreadableVideoError(name, "not a valid path", "check the path") from error
    if not stat.S_ISREG(mode):
        raise UnreadableVideoError(name, "not a regular file", "give the path of a video file")
