"""Errors that give the file, the frame, the cause and what to do.

They are sent between processes (DataLoader workers), so every field is a plain value that can be pickled.
"""

from __future__ import annotations

import av

from cvr_lightning.errors import UserError

PYAV_ERRORS = (av.FFmpegError, OSError, EOFError, ValueError, RuntimeError, OverflowError, MemoryError)
"""Exceptions that PyAV raises for bad files: FFmpeg errors, undecodable text, missing values."""

PREPARE_OPTIONS = "-an -vf scale=340:256,setsar=1:1 -q:v 1 -sc_threshold 1000000000 -c:v mpeg4"
"""Options of the command ffmpeg for the form that ``cvr prepare`` writes."""
PREPARE = f"prepare it: ffmpeg -i IN {PREPARE_OPTIONS} OUT (a folder: cvr prepare SRC DST)"
"""Advice for a stream without readable motion or residuals."""
PREPARE_FOLDER = "put it into a folder and prepare that: cvr prepare SRC DST"
"""Advice for mirrored frames, which some versions of ffmpeg do not mirror back."""
TURN_UPRIGHT = "turn it upright with a video editor, or leave it out"
"""Advice for rotations that this package does not support."""
IFRAMES_ONLY = "or ask for modalities=('iframes',), in cvr --data.sampling.modalities '[iframes]'"
"""Alternative for a stream of which only I-frames can be read."""
FETCH_AGAIN = "fetch or encode the file again, or leave it out"
"""Advice for a damaged file."""

ENCODE_ON_THE_WAY = (
    "encode it on the way: ffmpeg -i IN -vf scale=340:256,setsar=1:1 -q:v 1 -c:v mpeg4 -f avi - | cvr watch -"
)
"""Advice for a stream that cannot be read as it is."""


def reason(error: Exception) -> str:
    """The message of FFmpeg or the system, without error number and path."""
    return getattr(error, "strerror", None) or str(error)


class VideoError(UserError):
    """A video cannot be read as requested.

    Args:
        file: Path of the video.
        cause: What is wrong.
        remedy: What the user can do.
        frame: Frame number in display order, if the error concerns one frame.
        macroblock: Macroblock number in raster order, if known.
        bit: Bit position in the frame's packet, if known.
        alternative: Advice for commands with options for what is read, such as ``fit`` but not ``classify``.
    """

    def __init__(
        self,
        file: str,
        cause: str,
        remedy: str = "",
        frame: int | None = None,
        macroblock: int | None = None,
        bit: int | None = None,
        alternative: str = "",
    ) -> None:
        # Positional arguments: pickle passes them back to __init__.
        super().__init__(file, cause, remedy, frame, macroblock, bit, alternative)
        self.file = file
        self.cause = cause
        self.remedy = remedy
        self.frame = frame
        self.macroblock = macroblock
        self.bit = bit
        self.alternative = alternative

    def __str__(self) -> str:
        return f"{self.without_alternative()} {self.alternative}".rstrip()

    def without_alternative(self) -> str:
        """The message for commands without options for what is read."""
        places = (("frame", self.frame), ("macroblock", self.macroblock), ("bit", self.bit))
        where = "".join(f", {name} {value}" for name, value in places if value is not None)
        return f"{self.file}{where}: {self.cause}" + (f"; {self.remedy}" if self.remedy else "")


class UnreadableVideoError(VideoError):
    """The file is missing, empty, not a video, or damaged at a required frame."""


class UnsupportedStreamError(VideoError):
    """The video is intact, but its codec or coding tools do not support the requested modality."""


class BitstreamError(UnreadableVideoError):
    """A packet violates the syntax of its codec; the container is intact."""
