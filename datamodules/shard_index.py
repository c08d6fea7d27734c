"""Index of a folder of shards: position, name and label of each video."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from tarfile import BLOCKSIZE
from typing import Any, NamedTuple

from cvr_lightning.datamodules.shard_files import ShardFiles
from cvr_lightning.errors import ShardError
from cvr_lightning.files.atomic import atomic_path
from cvr_lightning.files.bounds import CLASSES, VIDEO_BYTES, parse_json

INDEX = "index.json"
VERSION = 3
"""Incremented when the format of the files changes."""
_MOST_BYTES = 1 << 40  # of a shard


def member_room(size: int) -> int:
    """Bytes of a tar member: its header, and its contents padded to whole blocks."""
    return BLOCKSIZE * (1 + -(-size // BLOCKSIZE))


class Place(NamedTuple):
    """Position of a video.

    Attributes:
        shard: Index of the tar file.
        offset: Offset of the video in that file, in bytes.
        size: Size of the video in bytes.
        index_size: Size of its packet index, the member before it; 0 if there is none.
    """

    shard: int
    offset: int
    size: int
    index_size: int

    @property
    def lead(self) -> int:
        """Bytes from the start of the packet index to the start of the video."""
        return member_room(self.index_size) if self.index_size else 0


@dataclass(frozen=True)
class Subset:
    """The videos of a subset, as columns.

    Attributes:
        names: Paths relative to the root of the packed data set.
        labels: Class indices, -1 if unknown.
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
    """The contents of a folder of shards.

    Attributes:
        shards: Names of the tar files.
        subsets: The videos of ``train``, ``val`` and ``test``.
        class_names: Name of each class.
        flip: Clips may be mirrored, since no class tells left from right.
        protocol: Evaluation protocol of the packed data set.
        missing: Number of annotated videos per subset that were missing.
        index_versions: Versions that the packet indexes depend on; with other versions they are not used.
    """

    shards: list[str]
    subsets: Mapping[str, Subset]
    class_names: list[str]
    flip: bool
    protocol: dict[str, Any]
    missing: Mapping[str, int]
    index_versions: dict[str, Any]

    def save(self, folder: Path) -> None:
        """Write the index atomically."""
        with atomic_path(folder / INDEX) as unfinished:
            values = asdict(self)
            text = json.dumps({"version": VERSION, "checksum": _checksum(values), **values})
            unfinished.write_text(text, encoding="utf-8")

    @classmethod
    def load(cls, files: ShardFiles) -> ShardIndex:
        """Read the index of a folder.

        Raises:
            ShardError: It is missing, damaged, or of another version.
        """
        place = f"{files.location}/{INDEX}"
        try:
            fields = parse_json(files.read(INDEX))
            version = fields.pop("version")
            if version == VERSION:
                if fields.pop("checksum") != _checksum(fields):
                    raise ValueError("wrong checksum")
                subsets = {name: Subset(**columns) for name, columns in fields.pop("subsets").items()}
                index = cls(subsets=subsets, **fields)
                index._check()
                return index
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ShardError(f"{place}: damaged ({error!r}); copy it again, or pack again") from error
        raise ShardError(f"{place}: version {version}, but this release reads version {VERSION}; pack again")

    def _check(self) -> None:
        classes = len(self.class_names)
        CLASSES.check(classes)
        if not all(type(name) is str for name in [*self.shards, *self.class_names]):
            raise ValueError("a shard or a class without a name")
        if type(self.flip) is not bool or not isinstance(self.protocol, dict):
            raise ValueError("flip or protocol")
        if not {"dataset", "subset"} <= self.protocol.keys() or not isinstance(self.missing, dict):
            raise ValueError("protocol or missing")
        for name, subset in self.subsets.items():
            _check_column(f"labels of {name}", subset.labels, -1, classes - 1)
            _check_column(f"shards of {name}", subset.shards, 0, len(self.shards) - 1)
            for column in (subset.offsets, subset.sizes, subset.index_sizes):
                _check_column(f"places of {name}", column, 0, _MOST_BYTES)
            VIDEO_BYTES.check(max([0, *subset.sizes, *subset.index_sizes]))
            if not all(type(video) is str for video in subset.names):
                raise ValueError(f"{name} has a video without a name")
            if len({len(column) for column in asdict(subset).values()}) != 1:
                raise ValueError(f"the columns of {name} differ in length")
        if any("/" in name for name in self.shards):
            raise ValueError("a shard lies in another folder")


def _check_column(name: str, values: Any, low: int, high: int) -> None:
    if not isinstance(values, list) or not all(
        type(value) is int and low <= value <= high for value in values
    ):
        raise ValueError(f"{name} are not numbers from {low} to {high}")


def _checksum(values: Mapping[str, Any]) -> str:
    return hashlib.blake2b(json.dumps(values).encode(), digest_size=16).hexdigest()
