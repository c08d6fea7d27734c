"""The videos of one subset of a data set, read clip by clip."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from torch.utils.data import Dataset

from cvr_lightning.clip import Sample
from cvr_lightning.codec import CompressedVideoReader, VideoBytes
from cvr_lightning.codec.arrays import ClipArrays, Segment
from cvr_lightning.codec.container.index import PacketIndex
from cvr_lightning.codec.errors import VideoError
from cvr_lightning.codec.windows import frames
from cvr_lightning.datamodules.index_cache import IndexCache
from cvr_lightning.datamodules.names import Names
from cvr_lightning.datamodules.sampling import ClipSampling, Draw, training_offsets, view_offset
from cvr_lightning.errors import UserError

OnError = Literal["raise", "skip"]


class VideoList:
    """The labelled videos of one subset.

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
    path: str | Path | VideoBytes,
    sampling: ClipSampling,
    offsets: float | Sequence[float] = 0.5,
    index: PacketIndex | None = None,
) -> ClipArrays:
    """Read one clip of a file.

    Args:
        path: The video, or one in memory.
        sampling: How a file becomes a clip.
        offsets: Place of the window inside its span, in [0, 1): one for all or one for each segment.
        index: The file's index where it is known.

    Raises:
        VideoError: Where the file cannot be read.
    """
    with CompressedVideoReader(path, parser=sampling.parser, index=index) as reader:
        return _read(reader, sampling, _windows(reader, sampling, offsets))


def read_view(
    path: str | Path | VideoBytes, sampling: ClipSampling, view: int, index: PacketIndex | None = None
) -> ClipArrays | None:
    """Read one temporal view of a file; None where it would show the very frames of an earlier one.

    That is so where the file is too short for ``sampling.views`` different ones.

    Args:
        path: The video, or one in memory.
        sampling: How a file becomes a clip.
        view: Index of the temporal view.
        index: The file's index where it is known.

    Raises:
        VideoError: Where the file cannot be read.
    """
    with CompressedVideoReader(path, parser=sampling.parser, index=index) as reader:
        *earlier, own = (
            _windows(reader, sampling, view_offset(number, sampling.views)) for number in range(view + 1)
        )
        return None if own in earlier else _read(reader, sampling, own)


def _windows(
    reader: CompressedVideoReader, sampling: ClipSampling, offsets: float | Sequence[float]
) -> list[Segment]:
    if sampling.representation == "rgb":
        return frames(reader.info.num_frames, sampling.segments, offsets)
    # Where no P-frame is read, windows differ by their I-frames alone.
    pframes = 0 if sampling.modalities == ("iframes",) else sampling.pframes
    return reader.segments(sampling.segments, pframes, offsets=offsets)


def _read(reader: CompressedVideoReader, sampling: ClipSampling, windows: Sequence[Segment]) -> ClipArrays:
    if sampling.representation == "rgb":
        return reader.read_frames(windows, sampling.size, sampling.coefficients)
    return reader.read(
        windows,
        t=sampling.pframes,
        size=sampling.size,
        representation=sampling.representation,
        accumulate=sampling.accumulate,
        modalities=sampling.modalities,
        coefficients=sampling.coefficients,
    )


class VideoDataset(Dataset[Sample | None]):
    """Map-style data set over :class:`Draw` keys, as :class:`VideoSampler` yields them.

    A temporal view that would repeat an earlier one is None and makes no part of a batch.

    Args:
        root: Folder that the names are relative to.
        videos: The videos and their labels.
        sampling: How a file becomes a clip.
        training: Draw offsets by (seed, epoch, video); otherwise by view.
        seed: Seed of the offsets.
        on_error: ``raise`` the reading error, or ``skip``: hand out a sample that holds it.
        indexes: The packet indexes that are known.
    """

    def __init__(
        self,
        root: str | Path,
        videos: VideoList,
        sampling: ClipSampling,
        training: bool = False,
        seed: int = 0,
        on_error: OnError = "raise",
        indexes: IndexCache | None = None,
    ) -> None:
        self.root = Path(root)
        self.sampling = sampling
        self.training = training
        self.seed = seed
        self.on_error = on_error
        self._videos = videos
        self._indexes = indexes

    def __len__(self) -> int:
        return len(self._videos)

    def __getitem__(self, draw: Draw) -> Sample | None:
        name = self._videos.names[draw.video]
        try:
            arrays: ClipArrays | VideoError | None = self._read(draw)
        except VideoError as error:
            if self.on_error == "raise":
                raise
            arrays = error
        if arrays is None:
            return None
        return Sample(draw.video, draw.view, int(self._videos.labels[draw.video]), name, arrays)

    def __getitems__(self, draws: Sequence[Draw]) -> list[Sample] | UserError:
        """The samples of a batch, or the error that reading them met: see :class:`VideoLoader`."""
        try:
            return [sample for draw in draws if (sample := self[draw]) is not None]
        except UserError as error:
            return error

    def find(self, video: int) -> tuple[Path | VideoBytes, PacketIndex | None]:
        """What the reader opens for a video, and its index where that is known.

        Raises:
            VideoError: The file cannot be indexed.
        """
        name = self._videos.names[video]
        return self.root / name, None if self._indexes is None else self._indexes.find(name)

    def _read(self, draw: Draw) -> ClipArrays | None:
        path, index = self.find(draw.video)
        if not self.training:
            return read_view(path, self.sampling, draw.view, index)
        offsets = training_offsets(self.seed, draw.epoch, draw.video, self.sampling.segments)
        return read_clip(path, self.sampling, offsets, index)
