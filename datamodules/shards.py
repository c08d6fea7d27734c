"""A data set packed into shards, on a disk or at a URL."""

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
    """Videos that ``cvr pack`` wrote into tar files, with the subsets and labels of the packed data set.

    A video is one range read from a tar file, so access is random: shuffling, distribution over processes,
    evaluation and resuming work as for files. With the same options a run trains on the same batches.

    Args:
        root: Local folder, or a URL that fsspec supports.
        **options: Options of :class:`CompressedVideoDataModule`.

    Raises:
        ShardError: The root holds no shards, or damaged ones.
    """

    def __init__(self, root: str, **options: Any) -> None:
        self._files = ShardFiles(root)
        self._index = ShardIndex.load(self._files)
        self.mirrorable = self._index.flip
        super().__init__(
            root=root,
            class_names=self._index.class_names,
            index_dir=None,  # the indexes are in the shards
            **options,
        )
        if self._index.index_versions != index_versions():
            log.warning("%s was packed by another release: reading takes longer; pack it again", root)

    @property
    def protocol(self) -> dict[str, Any]:
        """How the test subset is evaluated, with the name and split of the packed data set."""
        packed = self._index.protocol
        return packed | super().protocol | {key: packed[key] for key in ("dataset", "subset")}

    @property
    def missing_counts(self) -> dict[str, int]:
        """Number of annotated videos per subset that were missing when packed."""
        return dict(self._index.missing)

    def scan(self) -> Mapping[str, VideoList]:
        """The videos of each subset from the index."""
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
