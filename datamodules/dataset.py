"""The videos of one part of a data set, read clip by clip."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from torch.utils.data import Dataset

from cvr_lightning.clip import Sample
from cvr_lightning.codec import CompressedVideoReader
from cvr_lightning.codec.arrays import ClipArrays
from cvr_lightning.codec.errors import VideoError
from cvr_lightning.codec.windows import frames
from cvr_lightning.datamodules.sampling import ClipSampling, Draw, training_offsets, view_offset

log = logging.getLogger(__name__)

OnError = Literal["raise", "skip"]


@dataclass(frozen=True)
class VideoList:
    """The labelled videos of one part.

    Attributes:
        names: Paths relative to the data set's root, with forward slashes: how results name a video.
        labels: Class index of each, -1 where unknown.
    """

    names: tuple[str, ...]
    labels: tuple[int, ...]

    def __len__(self) -> int:
        """Number of videos."""
        return len(self.names)


def read_clip(path: str | Path, sampling: ClipSampling, offsets: float | Sequence[float] = 0.5) -> ClipArrays:
    """Read one clip of a file.

    Args:
        path: The video.
        sampling: How a file becomes a clip.
        offsets: Place of the window inside its span, in [0, 1): one for all or one for each segment.

    Raises:
        VideoError: Where the file cannot be read.
    """
    with CompressedVideoReader(path, parser=sampling.parser) as reader:
        if sampling.representation == "rgb":
            decoded = frames(reader.info.num_frames, sampling.segments, offsets)
            return reader.read_frames(decoded, sampling.size, sampling.coefficients)
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
    ) -> None:
        self.root = Path(root)
        self.sampling = sampling
        self.training = training
        self.seed = seed
        self.views = views
        self.on_error = on_error
        # Arrays rather than lists: forked workers share them without touching a reference count per name.
        self._names = np.array(videos.names)
        self._labels = np.array(videos.labels, dtype=np.int64)
        self._reported: set[int] = set()

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, draw: Draw) -> Sample:
        epoch, video, view = draw
        name = str(self._names[video])
        arrays = self._read(video, name, self._offsets(epoch, video, view))
        return Sample(video, view, int(self._labels[video]), name, arrays)

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
            return read_clip(self.root / name, self.sampling, offsets)
        except VideoError as error:
            if self.on_error == "raise":
                raise
            if video not in self._reported:  # once in each worker process
                self._reported.add(video)
                log.warning("left out, as on_error=skip asks: %s", error)
            return None
