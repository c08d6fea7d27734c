"""The only place where FFmpeg is handed something to open."""

from __future__ import annotations

import errno
import io
import os
import stat
from typing import IO, Any

import av
from av.container import InputContainer

from cvr_lightning.codec.errors import FETCH_AGAIN, PYAV_ERRORS, UnreadableVideoError, reason
from cvr_lightning.codec.limits import max_pixels

FORMATS = (
    *("mov", "mp4", "matroska", "webm", "avi", "mpeg", "mpegts", "mpegvideo", "asf", "asf_o", "flv", "ogg"),
    *("nut", "mxf", "gxf", "dv", "ivf", "rm", "wtv", "nsv", "nuv", "gif", "apng", "swf", "yuv4mpegpipe"),
    *("h261", "h263", "h264", "hevc", "vvc", "evc", "m4v", "mjpeg", "av1", "obu", "vc1", "vc1test", "dirac"),
    *("wav", "mp3", "flac", "aac"),  # no video, which is what is said then
    *("cavsvideo", "avs2", "avs3", "dnxhd", "apv", "smk", "bink", "film_cpk", "flic", "roq", "live_flv"),
)
"""Containers that hold the video themselves: none that is a script or a list of other files to open."""


def open_container(
    source: str | io.BytesIO | IO[bytes], name: str, remedy: str = FETCH_AGAIN
) -> InputContainer:
    """Open a video for reading; whatever is in it, no other file, device or address is opened.

    Args:
        source: Path of a regular file, never a URL; or the bytes, or a pipe that is open.
        name: What errors call it.
        remedy: What errors advise.

    Raises:
        UnreadableVideoError: It is no regular file, or FFmpeg cannot open it as one of :data:`FORMATS`.
    """
    options = {
        "format_whitelist": ",".join(FORMATS),
        "protocol_whitelist": "pipe",
        "max_pixels": str(max_pixels()),
    }
    file: Any = source
    if isinstance(source, str):
        require_regular(source, name)
        # An absolute path is never taken for a protocol.
        file, options["protocol_whitelist"] = os.path.abspath(source), "file"
    try:
        container: InputContainer = av.open(file, mode="r", metadata_errors="replace", options=options)
    except PYAV_ERRORS as error:
        cause = f"FFmpeg cannot open it: {reason(error)}"
        if getattr(error, "errno", None) == errno.EINVAL:
            cause = "it is no video container; playlists and scripts, which name other files, are not opened"
        raise UnreadableVideoError(name, cause, remedy) from error
    return container


def require_regular(path: str, name: str) -> None:
    """Refuse what would block or act when it is opened, such as a pipe, a socket or a device.

    Raises:
        UnreadableVideoError: It is not there, or no regular file.
    """
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        raise UnreadableVideoError(name, "no such file", "check the path") from error
    except ValueError as error:  # a zero byte in it
        raise UnreadableVideoError(name, "no path of a file", "check the path") from error
    if not stat.S_ISREG(mode):
        raise UnreadableVideoError(name, "not a regular file", "give the path of a video file")
