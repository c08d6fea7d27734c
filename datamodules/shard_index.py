"""Where each video lies in a folder of shards, and what a data set says of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from tarfile import BLOCKSIZE
from typing import Any, NamedTuple

from cvr_lightning.datamodules.shard_files import ShardFiles
from cvr_lightning.errors import ShardError
from cvr_lightning.files.atomic import atomic_path

INDEX = "index.json"
VERSION = 1
"""Grows whenever the files mean something else."""


def member_room(size: int) -> int:
    """Bytes of a tar file's member: a header, and its contents filled up to whole blocks."""
    return BLOCKSIZE * (1 + -(-size // BLOCKSIZE))


class Place(NamedTuple):
    """Where a video lies.

    Attributes:
        shard: Which of the tar files holds it.
        offset: Byte of that file at which it begins.
        size: Bytes of the video.
        index_size: Bytes of its packet index, whose member ends where the video's begins; 0 without one.
    """

    shard: int
    offset: int
    size: int
    index_size: int

    @property
    def lead(self) -> int:
        """Bytes from the beginning of the packet index to that of the video."""
        return member_room(self.index_size) if self.index_size else 0


@dataclass(frozen=True)
class Part:
    """The videos of one part of a data set: a column for each thing that is known of them.

    Attributes:
        names: Paths relative to the root of the data set that was packed.
        labels: Class indices, -1 where unknown.
        shards, offsets, sizes, index_sizes: The :class:`Place` of each.
    """

    names: list[str]
    labels: list[int]
    shards: list[int]
    offsets: list[int]
    sizes: list[int]
    index_sizes: list[int]


@dataclass(frozen=True)
class ShardIndex:
    """What lies in a folder of shards.

    Attributes:
        shards: Names of the tar files.
        parts: The videos of ``train``, ``val`` and ``test``.
        class_names: Name of each class.
        flip: Left and right are no labels, so clips may be mirrored.
        protocol: What the data set that was packed says of its evaluation.
        missing: How many videos of each part its annotations list and its folders lacked.
        index_versions: What the packet indexes depend on; those of other versions are of no use.
    """

    shards: list[str]
    parts: Mapping[str, Part]
    class_names: list[str]
    flip: bool
    protocol: dict[str, Any]
    missing: Mapping[str, int]
    index_versions: dict[str, Any]

    def save(self, folder: Path) -> None:
        """Write the index, whole or not at all."""
        with atomic_path(folder / INDEX) as unfinished:
            unfinished.write_text(json.dumps({"version": VERSION, **asdict(self)}), encoding="utf-8")

    @classmethod
    def load(cls, files: ShardFiles) -> ShardIndex:
        """Read the index of a folder.

        Raises:
            ShardError: There is none, or one that is damaged or of another version.
        """
        place = f"{files.location}/{INDEX}"
        try:
            fields = json.loads(files.read(INDEX))
            version = fields.pop("version")
            if version == VERSION:
                parts = {name: Part(**columns) for name, columns in fields.pop("parts").items()}
                index = cls(parts=parts, **fields)
                index._check()
                return index
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ShardError(f"{place}: damaged ({error!r}); copy it again, or pack again") from error
        raise ShardError(f"{place}: of version {version}, this release reads {VERSION}; pack again")

    def _check(self) -> None:
        for name, part in self.parts.items():
            if len({len(column) for column in asdict(part).values()}) != 1:
                raise ValueError(f"the columns of {name} differ in length")
            if not all(0 <= shard < len(self.shards) for shard in part.shards):
                raise ValueError(f"{name} names a shard that there is not")
        if any("/" in name for name in self.shards):
            raise ValueError("a shard lies in another folder")
