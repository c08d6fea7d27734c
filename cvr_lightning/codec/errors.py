"""One family of errors: which file, which frame, why, and what to do about it.

They cross process borders (DataLoader workers), so every field is a plain value and all of them pickle.
"""

from __future__ import annotations

import av

from cvr_lightning.errors import UserError

PYAV_ERRORS = (av.FFmpegError, OSError, EOFError, ValueError, RuntimeError, OverflowError, MemoryError)
"""What PyAV raises where a file is at fault: FFmpeg's errors, undecodable texts, values that it lacks."""

PREPARE = (
    "prepare it: ffmpeg -i IN -vf scale=340:256,setsar=1:1 -q:v 1 -c:v mpeg4 OUT "
    "(a folder: cvr prepare SRC DST)"
)
"""Remedy for a stream that holds no readable motion or residuals."""
PREPARE_FOLDER = "put it into a folder and prepare that: cvr prepare SRC DST"
"""Remedy where a line of ffmpeg is none: some of its versions do not mirror frames."""
TURN_UPRIGHT = "turn it upright with a video editor, or leave it out"
"""Remedy for frames that no command of this package turns."""
IFRAMES_ONLY = "or ask for modalities=('iframes',), in cvr --data.sampling.modalities '[iframes]'"
"""Alternative for a stream whose I-frames alone can be read."""
FETCH_AGAIN = "fetch or encode the file again, or leave it out"
"""Remedy for a damaged file."""


def reason(error: Exception) -> str:
    """What FFmpeg or the system says, without the number and the path that go with it."""
    return getattr(error, "strerror", None) or str(error)


class VideoError(UserError):
    """A video that does not give what was asked of it.

    Args:
        file: Path of the video.
        cause: What is wrong.
        remedy: What the user can do.
        frame: Frame number in display order, where the error belongs to one frame.
        macroblock: Macroblock number in raster order, where known.
        bit: Bit position in the frame's packet, where known.
        alternative: What helps whoever chooses what is read, as training does and labelling does not.
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
        # All fields as positional arguments: this is what pickle hands back to __init__.
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
        """The message of a command that cannot choose what is read of a video."""
        places = (("frame", self.frame), ("macroblock", self.macroblock), ("bit", self.bit))
        where = "".join(f", {name} {value}" for name, value in places if value is not None)
        return f"{self.file}{where}: {self.cause}" + (f"; {self.remedy}" if self.remedy else "")


class UnreadableVideoError(VideoError):
    """The file is missing, empty, not a video, or damaged where it is needed."""


class UnsupportedStreamError(VideoError):
    """The video is sound, but its codec or its coding tools cannot give the modality that was asked."""


class BitstreamError(UnreadableVideoError):
    """A packet breaks the syntax of its codec; the container around it is sound."""
