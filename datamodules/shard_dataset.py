"""The videos of one subset of a data set, read from shards."""

from __future__ import annotations

from typing import Any

import numpy as np

from cvr_lightning.codec import PacketIndex, VideoBytes
from cvr_lightning.datamodules.dataset import VideoList
from cvr_lightning.datamodules.drawn_dataset import DrawnDataset
from cvr_lightning.datamodules.index_cache import index_versions
from cvr_lightning.datamodules.shard_files import ShardFiles
from cvr_lightning.datamodules.shard_index import Place, ShardIndex


class ShardDataset(DrawnDataset):
    """Reads each video's bytes from its shard.

    Args:
        files: The shards.
        index: Their index.
        subset: Name of the subset.
        videos: The videos of the subset.
        **options: Options of :class:`VideoDataset`.
    """

    def __init__(
        self, files: ShardFiles, index: ShardIndex, subset: str, videos: VideoList, **options: Any
    ) -> None:
        super().__init__(videos, root=files.location, **options)
        columns = index.subsets[subset]
        self._files = files
        self._shards = index.shards
        self._places = np.array(
            [columns.shards, columns.offsets, columns.sizes, columns.index_sizes], np.int64
        ).T.copy()
        self._indexed = index.index_versions == index_versions()

    def find(self, video: int) -> tuple[VideoBytes, PacketIndex | None]:
        """The video's bytes and its index, in one read.

        Raises:
            ShardError: The shard cannot be read. ``on_error=skip`` does not apply to it.
        """
        place = Place(*self._places[video].tolist())
        shard, lead = self._shards[place.shard], place.lead if self._indexed else 0
        data = self._files.read(shard, place.offset - lead, lead + place.size)
        file = VideoBytes(f"{shard}/{self._videos.names[video]}", data[lead:])
        try:
            return file, PacketIndex.from_bytes(data[: place.index_size]) if lead else None
        except ValueError:  # damaged; scanning the video shows whether it is damaged too
            return file, None
