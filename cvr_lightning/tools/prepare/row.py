"""A video to prepare, and its line in the manifest."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal, NamedTuple, get_args

from cvr_lightning.codec.prepared.recipe import Recipe

Status = Literal["encoded", "linked", "copied", "failed"]


class Job(NamedTuple):
    """A video to prepare.

    Attributes:
        source: Root of the sources.
        destination: Root of the prepared videos.
        name: The video, relative to ``source``.
        recipe: The format to produce.
    """

    source: Path
    destination: Path
    name: str
    recipe: Recipe


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the manifest. For a failed video only its name, size and error are set.

    Attributes:
        source: The video, relative to the root of the sources.
        target: The prepared video, relative to the destination.
        status: ``encoded``, ``linked`` (a hard link), ``copied`` (if no link is possible), ``failed``.
        codec: FFmpeg's name of the source's codec.
        frames: Frames of the target.
        gop: Its longest GOP in frames.
        width: Its width in pixels.
        height: Its height in pixels.
        bytes: Size of its file.
        source_bytes: Size of the source file.
        note: Remarks on the source, such as interlacing.
        error: Why it failed.
    """

    source: str
    target: str = ""
    status: Status = "failed"
    codec: str = ""
    frames: int = 0
    gop: int = 0
    width: int = 0
    height: int = 0
    bytes: int = 0
    source_bytes: int = 0
    note: str = ""
    error: str = ""

    def check(self) -> None:
        """Reject wrong types and names that lead out of the folders.

        Raises:
            ValueError: Names the invalid value.
        """
        for item in fields(self):
            value = getattr(self, item.name)
            if type(value) is not (int if item.type == "int" else str):
                raise ValueError(f"{item.name}: {value!r:.50}")
        for name in (self.source, self.target):
            if name.startswith("/") or ".." in name.split("/") or "\0" in name:
                raise ValueError(f"{name!r:.100} leads out of the folder")
        if self.status not in get_args(Status):
            raise ValueError(f"status: {self.status!r:.50}")


def file_size(path: Path) -> int:
    """Size of a file in bytes, 0 if it does not exist."""
    try:
        return path.stat().st_size
    except OSError:
        return 0
