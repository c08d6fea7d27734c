"""Writes the videos of a data set into shards."""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from tarfile import BLOCKSIZE, RECORDSIZE
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from cvr_lightning.datamodules.index_cache import index_versions
from cvr_lightning.datamodules.shard_index import INDEX, Place, ShardIndex, Subset, member_room
from cvr_lightning.errors import ShardError
from cvr_lightning.files.atomic import atomic_path, unfinished_files
from cvr_lightning.files.lock import hold

if TYPE_CHECKING:
    from cvr_lightning.datamodules import CompressedVideoDataModule
    from cvr_lightning.datamodules.dataset import VideoList

THREADS = 4
"""Number of shards written concurrently."""
SEED = 0
"""Seed of the order of training videos, so that sequential reads see all classes."""


@dataclass(frozen=True)
class Member:
    """A video to be written to a tar file.

    Attributes:
        name: Path relative to the root of its data set.
        stem: Stem of its member names.
        about: Name, label and class, as JSON.
        index: Its packet index, empty if there is none.
        size: Size of its file in bytes.
    """

    name: str
    stem: str
    about: bytes
    index: bytes
    size: int

    @property
    def offset(self) -> int:
        """Offset of the video's bytes from its first member."""
        return member_room(len(self.about)) + (member_room(len(self.index)) if self.index else 0) + BLOCKSIZE

    @property
    def room(self) -> int:
        """Size of all its members in bytes."""
        return self.offset - BLOCKSIZE + member_room(self.size)


@dataclass(frozen=True)
class Shard:
    """A tar file to be written.

    Attributes:
        name: Its name.
        members: Its videos.
    """

    name: str
    members: list[Member]

    @property
    def size(self) -> int:
        """Size of the file in bytes: members and two empty blocks, padded to whole records."""
        used = sum(member.room for member in self.members) + 2 * BLOCKSIZE
        return RECORDSIZE * -(-used // RECORDSIZE)


def pack(data: CompressedVideoDataModule, destination: Path, shard_bytes: int) -> ShardIndex:
    """Write the videos of all subsets of a data set, each once; an interrupted run is continued.

    Args:
        data: The data set, set up.
        destination: A folder that is new, empty, or from an interrupted run.
        shard_bytes: Maximum size of a tar file, exceeded only by a single larger video.

    Raises:
        ShardError: The folder holds other files, or a video has changed while packing.
        InUseError: Another process is packing into it.
        OutputError: It cannot be written.
    """
    shards: list[Shard] = []
    places: dict[str, Place] = {}
    for subset in data.videos:
        for shard in _fill(subset, _members(data, subset, places), shard_bytes):
            start = 0
            for member in shard.members:
                offset = start + member.offset
                places[member.name] = Place(len(shards), offset, member.size, len(member.index))
                start += member.room
            shards.append(shard)
    index = ShardIndex(
        shards=[shard.name for shard in shards],
        subsets={subset: _subset(videos, places) for subset, videos in data.videos.items()},
        class_names=list(data.class_names),
        flip=data.mirrorable,
        protocol=data.protocol,
        missing=data.missing_counts,
        index_versions=index_versions(),
    )
    with hold(destination):
        _check_destination(destination, shards)
        _write_all(data.root, destination, shards)
        index.save(destination)
    return index


def _members(data: CompressedVideoDataModule, subset: str, packed: Mapping[str, object]) -> list[Member]:
    """The videos of a subset that are not packed yet; training videos in random order."""
    labels = {
        name: int(label)
        for name, label in zip(data.videos[subset].names, data.videos[subset].labels, strict=True)
        if name not in packed
    }
    names = list(labels)
    if subset == "train":
        names = [names[i] for i in np.random.default_rng(SEED).permutation(len(names))]
    members = []
    for number, name in enumerate(names, start=len(packed)):
        label = labels[name]
        about = {"name": name, "label": label, "class": data.class_names[label] if label >= 0 else None}
        index = data.indexes.packed(name) if data.indexes is not None else b""
        size = os.path.getsize(data.root / name)
        members.append(Member(name, f"{number:09d}", json.dumps(about).encode(), index, size))
    return members


def _fill(subset: str, members: Iterable[Member], shard_bytes: int) -> Iterator[Shard]:
    """Distribute videos over shards, filling each up to the limit."""
    number, taken, used = 0, list[Member](), 0
    for member in members:
        if taken and used + member.room > shard_bytes:
            yield Shard(f"{subset}-{number:06d}.tar", taken)
            number, taken, used = number + 1, [], 0
        taken.append(member)
        used += member.room
    if taken:
        yield Shard(f"{subset}-{number:06d}.tar", taken)


def _subset(videos: VideoList, places: Mapping[str, Place]) -> Subset:
    """The columns of a subset in its original order, so that sampling matches that from files."""
    names = list(videos.names)
    columns = zip(*(places[name] for name in names), strict=True)
    return Subset(names, videos.labels.tolist(), *map(list, columns))


def _check_destination(destination: Path, shards: Sequence[Shard]) -> None:
    visible = sorted(path.name for path in destination.glob("[!.]*"))
    if INDEX in visible:
        raise ShardError(f"{destination} is packed already; give another folder, or delete this one")
    foreign = sorted(set(visible) - {shard.name for shard in shards})
    if foreign:
        raise ShardError(
            f"{destination} holds {foreign[0]}, which is not a shard of this data set: give an empty folder"
        )


def _write_all(root: Path, destination: Path, shards: Sequence[Shard]) -> None:
    """Write the missing shards, several concurrently, as the work is bound by input and output."""
    for leftover, _ in list(unfinished_files(destination)):
        leftover.unlink()
    bar = tqdm(total=sum(shard.size for shard in shards), desc="pack", unit="B", unit_scale=True)
    pool = ThreadPoolExecutor(THREADS)
    try:
        for done in as_completed(pool.submit(_write, root, destination, shard) for shard in shards):
            bar.update(done.result())
    finally:
        bar.close()
        pool.shutdown(cancel_futures=True)


def _write(root: Path, destination: Path, shard: Shard) -> int:
    """Write a shard unless it exists; returns its size."""
    path = destination / shard.name
    if path.is_file() and path.stat().st_size == shard.size:
        return shard.size
    with atomic_path(path) as unfinished, tarfile.open(unfinished, "w", format=tarfile.USTAR_FORMAT) as tar:
        for member in shard.members:
            _add(tar, f"{member.stem}.json", member.about)
            if member.index:
                _add(tar, f"{member.stem}.packets", member.index)
            with (root / member.name).open("rb") as video:
                if os.fstat(video.fileno()).st_size != member.size:
                    raise ShardError(f"{root / member.name} has changed while it was packed; run it again")
                tar.addfile(_header(member.stem + Path(member.name).suffix.lower(), member.size), video)
    return shard.size


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    tar.addfile(_header(name, len(data)), io.BytesIO(data))


def _header(name: str, size: int) -> tarfile.TarInfo:
    """A header without date or owner, so that the same videos produce the same bytes."""
    header = tarfile.TarInfo(name)
    header.size = size
    return header
