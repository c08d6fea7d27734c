"""A video that is to be prepared, and what became of it: the line that the manifest has for it."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal, NamedTuple, get_args

from cvr_lightning.tools.prepare.recipe import Recipe

Status = Literal["encoded", "linked", "copied", "failed"]


class Job(NamedTuple):
    """A video to prepare.

    Attributes:
        source: Root of the sources.
        destination: Root of what is written.
        name: The video, relative to ``source``.
        recipe: What it is to become.
    """

    source: Path
    destination: Path
    name: str
    recipe: Recipe


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the manifest. Of a video that failed, all but its name, bytes and error is empty.

    Attributes:
        source: The video, relative to the root of the sources.
        target: What stands for it, relative to the destination.
        status: ``encoded``, ``linked`` (a hard link), ``copied`` (where no link could be made), ``failed``.
        codec: FFmpeg's name of the source's codec.
        frames: Frames of the target.
        gop: Its longest GOP in frames.
        width: Its width in pixels.
        height: Its height in pixels.
        bytes: Size of its file.
        source_bytes: Size of the source's file.
        note: What may matter of the source.
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
        """Refuse what no run writes: other types, names that lead out of the folders.

        Raises:
            ValueError: Naming the value.
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
    """Bytes of a file, 0 where there is none."""
    try:
        return path.stat().st_size
    except OSError:
        return 0
