"""Map-style data set of compressed clips."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt
from torch.utils.data import Dataset

from cvr_lightning.clip import Sample
from cvr_lightning.codec import VideoBytes
from cvr_lightning.codec.arrays import ClipArrays
from cvr_lightning.codec.container.index import PacketIndex
from cvr_lightning.codec.errors import VideoError
from cvr_lightning.datamodules.clips import read_clip, read_view
from cvr_lightning.datamodules.errors import DatasetNotFoundError
from cvr_lightning.datamodules.files import folder_names, list_videos
from cvr_lightning.datamodules.index_cache import IndexCache
from cvr_lightning.datamodules.names import Names
from cvr_lightning.datamodules.sampling import ClipSampling, Draw, training_offsets
from cvr_lightning.files.left_out import LeftOut
from cvr_lightning.files.printable import counted

if TYPE_CHECKING:
    from matplotlib.figure import Figure

log = logging.getLogger(__name__)

OnError = Literal["raise", "skip"]
SAMPLING = ClipSampling()
LAYOUT = "<folder>/<class>/<video>"


class VideoList:
    """The labeled videos of one subset.

    Args:
        names: Paths relative to the data set's root, with forward slashes; used as names in results.
        labels: Class index of each, -1 if unknown.

    Attributes:
        names: The names as a sequence of strings.
        labels: (videos,) int64.

    Raises:
        ValueError: The lengths differ.
    """

    def __init__(self, names: Iterable[str], labels: Sequence[int] | npt.NDArray[np.int64]) -> None:
        self.names = Names(names)
        self.labels = np.array(labels, np.int64)
        if len(self.names) != len(self.labels):
            raise ValueError(f"{len(self.names)} names for {len(self.labels)} labels")

    def __len__(self) -> int:
        """Number of videos."""
        return len(self.names)


def list_class_folders(root: Path) -> tuple[tuple[str, ...], VideoList]:
    """List the class folders of a folder, and their videos.

    Raises:
        DatasetNotFoundError: The folder, its class folders or their videos are missing.
    """
    if not root.is_dir():
        raise DatasetNotFoundError.describe("VideoDataset", root, "there is no such folder", LAYOUT)
    left_out = LeftOut()
    class_names = tuple(folder_names(root))
    found = [
        (f"{name}/{video}", label)
        for label, name in enumerate(class_names)
        for video in list_videos(root, name, left_out)
    ]
    if left_out:
        log.warning("%s: %s", root, left_out)
    if not found:
        raise DatasetNotFoundError.describe("VideoDataset", root, "its folders contain no videos", LAYOUT)
    return class_names, VideoList([name for name, _ in found], [label for _, label in found])


class VideoDataset(Dataset[Sample]):
    """Videos as a map-style data set, for a plain :class:`torch.utils.data.DataLoader`.

    Examples:
        >>> dataset = VideoDataset("videos", ClipSampling(size=(128, 172), crop=112))  # doctest: +SKIP
        >>> loader = DataLoader(dataset, batch_size=8, collate_fn=collate)  # doctest: +SKIP

    Args:
        videos: A folder with one folder of videos per class, or a list of video files.
        sampling: How files are read into clips; of several ``views`` the first is read.
        labels: Class index of each file, -1 if unknown; None if all are unknown. Only for a list of files.
        root: Folder that the files' names are relative to.
        training: Read a random window in each span, drawn by (seed, epoch, video), see :meth:`set_epoch`;
            otherwise the middle one.
        seed: Seed of the windows.
        on_error: ``raise`` reading errors, or ``skip``: return a sample that holds the error.
        indexes: Packet indexes.

    Attributes:
        names: Name of each video.
        labels: (videos,) int64, class index of each, -1 if unknown.
        class_names: Names of the class folders; empty for files.

    Raises:
        DatasetNotFoundError: The folder, its class folders or their videos are missing.
        ValueError: The number of labels differs from that of the files, or a folder is given with labels.
    """

    def __init__(
        self,
        videos: str | Path | Sequence[str | Path] | VideoList,
        sampling: ClipSampling = SAMPLING,
        labels: Sequence[int] | None = None,
        root: str | Path = "",
        training: bool = False,
        seed: int = 0,
        on_error: OnError = "raise",
        indexes: IndexCache | None = None,
    ) -> None:
        self.root = Path(root)
        self.class_names: tuple[str, ...] = ()
        if isinstance(videos, str | Path):
            if labels is not None:
                raise ValueError(
                    "labels come from the class folders: leave labels out, or give a list of files"
                )
            self.root = self.root / videos
            self.class_names, videos = list_class_folders(self.root)
        elif not isinstance(videos, VideoList):
            names = [os.fspath(video) for video in videos]
            videos = VideoList(names, [-1] * len(names) if labels is None else labels)
        self.sampling = sampling
        self.training = training
        self.seed = seed
        self.on_error = on_error
        self.epoch = 0
        self._videos = videos
        self._indexes = indexes

    @property
    def names(self) -> Sequence[str]:
        """Name of each video."""
        return self._videos.names

    @property
    def labels(self) -> npt.NDArray[np.int64]:
        """(videos,) class index of each video, -1 if unknown."""
        return self._videos.labels

    def set_epoch(self, epoch: int) -> None:
        """Draw new windows in training.

        Call this before each pass over a loader. It has no effect on persistent workers.
        """
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self._videos)

    def __getitem__(self, index: int) -> Sample:
        """Read a video.

        Raises:
            VideoError: It cannot be read, and ``on_error`` is ``raise``.
        """
        sample = self._sample(Draw(self.epoch, range(len(self))[index], 0))
        assert sample is not None  # view 0 is always distinct
        return sample

    def __repr__(self) -> str:
        classes = counted(len(self.class_names), "class", "classes") if self.class_names else "no class names"
        return f"{type(self).__name__}({counted(len(self), 'video')}, {classes}, {self.sampling.summary()})"

    def plot(self, sample: Sample) -> Figure:
        """Draw a P-frame of a sample of this data set."""
        return sample.plot(self.class_names)

    def _sample(self, draw: Draw) -> Sample | None:
        """Read the sample of a draw; None for a temporal view that would repeat an earlier one."""
        try:
            arrays: ClipArrays | VideoError | None = self._read(draw)
        except VideoError as error:
            if self.on_error == "raise":
                raise
            arrays = error
        if arrays is None:
            return None
        label = int(self._videos.labels[draw.video])
        return Sample(draw.video, draw.view, label, self._videos.names[draw.video], arrays)

    def find(self, video: int) -> tuple[Path | VideoBytes, PacketIndex | None]:
        """Return what the reader opens for a video, and its index if known.

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
