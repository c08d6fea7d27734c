"""The videos of one part of a data set, read clip by clip."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from torch.utils.data import Dataset

from cvr_lightning.clip import Sample
from cvr_lightning.codec import CompressedVideoReader
from cvr_lightning.codec.arrays import ClipArrays
from cvr_lightning.codec.errors import VideoError
from cvr_lightning.codec.index import PacketIndex
from cvr_lightning.datamodules.index_cache import IndexCache
from cvr_lightning.datamodules.names import Names
from cvr_lightning.datamodules.sampling import ClipSampling, Draw, training_offsets, view_offset

log = logging.getLogger(__name__)

OnError = Literal["raise", "skip"]


class VideoList:
    """The labelled videos of one part.

    Args:
        names: Paths relative to the data set's root, with forward slashes: how results name a video.
        labels: Class index of each, -1 where unknown.

    Attributes:
        names: The same as a sequence of strings.
        labels: (videos,) int64.

    Raises:
        ValueError: Where the two differ in length.
    """

    def __init__(self, names: Iterable[str], labels: Sequence[int] | npt.NDArray[np.int64]) -> None:
        self.names = Names(names)
        self.labels = np.array(labels, np.int64)
        if len(self.names) != len(self.labels):
            raise ValueError(f"{len(self.names)} names for {len(self.labels)} labels")

    def __len__(self) -> int:
        """Number of videos."""
        return len(self.names)


def read_clip(
    path: str | Path,
    sampling: ClipSampling,
    offsets: float | Sequence[float] = 0.5,
    index: PacketIndex | None = None,
) -> ClipArrays:
    """Read one clip of a file.

    Args:
        path: The video.
        sampling: How a file becomes a clip.
        offsets: Place of the window inside its span, in [0, 1): one for all or one for each segment.
        index: The file's index where it is known.

    Raises:
        VideoError: Where the file cannot be read.
    """
    with CompressedVideoReader(path, parser=sampling.parser, index=index) as reader:
        return reader.read(
            reader.segments(sampling.segments, sampling.pframes, offsets=offsets),
            t=sampling.pframes,
            size=sampling.size,
            representation=sampling.representation,
            accumulate=sampling.accumulate,
            modalities=sampling.modalities,
            coefficients=sampling.coefficients,
        )


class VideoDataset(Dataset[Sample]):
    """Map-style data set over :class:`Draw` keys, as :class:`VideoSampler` yields them.

    Args:
        root: Folder that the names are relative to.
        videos: The videos and their labels.
        sampling: How a file becomes a clip.
        training: Draw offsets by (seed, epoch, video); otherwise by view.
        seed: Seed of the offsets.
        views: Temporal views of a video in evaluation.
        on_error: ``raise`` the reading error, or ``skip``: hand out a sample without arrays.
        indexes: The packet indexes that are known.
    """

    def __init__(
        self,
        root: str | Path,
        videos: VideoList,
        sampling: ClipSampling,
        training: bool = False,
        seed: int = 0,
        views: int = 1,
        on_error: OnError = "raise",
        indexes: IndexCache | None = None,
    ) -> None:
        self.root = Path(root)
        self.sampling = sampling
        self.training = training
        self.seed = seed
        self.views = views
        self.on_error = on_error
        self._videos = videos
        self._indexes = indexes
        self._reported: set[int] = set()

    def __len__(self) -> int:
        return len(self._videos)

    def __getitem__(self, draw: Draw) -> Sample:
        epoch, video, view = draw
        name = self._videos.names[video]
        arrays = self._read(video, name, self._offsets(epoch, video, view))
        return Sample(video, view, int(self._videos.labels[video]), name, arrays)

    def __getitems__(self, draws: Sequence[Draw]) -> list[Sample] | VideoError:
        """The samples of a batch, or the error that reading them met: see :class:`VideoLoader`."""
        try:
            return [self[draw] for draw in draws]
        except VideoError as error:
            return error

    def _offsets(self, epoch: int, video: int, view: int) -> float | tuple[float, ...]:
        if self.training:
            return training_offsets(self.seed, epoch, video, self.sampling.segments)
        return view_offset(view, self.views)

    def _read(self, video: int, name: str, offsets: float | Sequence[float]) -> ClipArrays | None:
        try:
            index = None if self._indexes is None else self._indexes.find(name)
            return read_clip(self.root / name, self.sampling, offsets, index)
        except VideoError as error:
            if self.on_error == "raise":
                raise
            if video not in self._reported:  # once in each worker process
                self._reported.add(video)
                log.warning("left out, as on_error=skip asks: %s", error)
            return None
