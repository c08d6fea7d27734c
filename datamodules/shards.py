"""A data set that was packed into shards, on a disk or behind a URL."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from cvr_lightning.datamodules.base import CompressedVideoDataModule
from cvr_lightning.datamodules.dataset import VideoList
from cvr_lightning.datamodules.drawn_dataset import DrawnDataset
from cvr_lightning.datamodules.index_cache import index_versions
from cvr_lightning.datamodules.sampling import ClipSampling
from cvr_lightning.datamodules.shard_dataset import ShardDataset
from cvr_lightning.datamodules.shard_files import ShardFiles
from cvr_lightning.datamodules.shard_index import ShardIndex

log = logging.getLogger(__name__)


class Shards(CompressedVideoDataModule):
    """The videos that ``cvr pack`` wrote into tar files: any data set, its subsets and labels as they were.

    A clip needs one read of its video's bytes from the middle of a tar file, so nothing is streamed: order,
    sharing between processes, evaluation and resuming are those of the data set that was packed. With the
    same options a run from shards trains on the same batches as a run from files.

    Args:
        root: Local folder, or a URL that fsspec understands.
        **options: Options of every data set: see :class:`CompressedVideoDataModule`.

    Raises:
        ShardError: Where the root holds no shards, or damaged ones.
    """

    def __init__(self, root: str, **options: Any) -> None:
        self._files = ShardFiles(root)
        self._index = ShardIndex.load(self._files)
        self.mirrorable = self._index.flip
        super().__init__(
            root=root,
            class_names=self._index.class_names,
            index_dir=None,  # the indexes lie beside the videos
            **options,
        )
        if self._index.index_versions != index_versions():
            log.warning("%s was packed by another release: each visit to a video takes longer", root)

    @property
    def protocol(self) -> dict[str, Any]:
        """How the test subset is evaluated, of the data set that was packed."""
        packed = self._index.protocol
        return packed | super().protocol | {key: packed[key] for key in ("dataset", "subset")}

    @property
    def missing_counts(self) -> dict[str, int]:
        """As it was when the data set was packed."""
        return dict(self._index.missing)

    def scan(self) -> Mapping[str, VideoList]:
        """The videos of each subset, as the index has them."""
        return {name: VideoList(subset.names, subset.labels) for name, subset in self._index.subsets.items()}

    def dataset(self, subset: str, sampling: ClipSampling, training: bool) -> DrawnDataset:
        """The videos of a subset, one clip for each draw."""
        return ShardDataset(
            self._files,
            self._index,
            subset,
            self.videos[subset],
            sampling=sampling,
            training=training,
            seed=self.seed,
            on_error=self.on_error,
        )
