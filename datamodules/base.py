"""The datamodule of every data set: labeled videos in, batches of compressed clips out."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import torch

from cvr_lightning.datamodules import forms
from cvr_lightning.datamodules.dataset import OnError, VideoList
from cvr_lightning.datamodules.device import DeviceTransforms
from cvr_lightning.datamodules.drawn_dataset import DrawnDataset
from cvr_lightning.datamodules.errors import DatasetNotFoundError
from cvr_lightning.datamodules.index_cache import IndexCache
from cvr_lightning.datamodules.loader import VideoLoader, collate_or_carry, start_worker
from cvr_lightning.datamodules.pipelines import Augmentation, TrainTransform
from cvr_lightning.datamodules.protocols import ProtocolName, choose_protocol, evaluation_of
from cvr_lightning.datamodules.reading import ReadingLog
from cvr_lightning.datamodules.sampling import (
    ClipRepresentation,
    ClipSampling,
    check_choice,
    check_seed,
)
from cvr_lightning.datamodules.video_sampler import VideoSampler
from cvr_lightning.files.printable import counted

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SUBSETS = {"fit": ("train", "val"), "validate": ("val",), "test": ("test",), "predict": ("test",)}
"""Subsets that each trainer function reads."""
SAMPLING = ClipSampling()
AUGMENTATION = Augmentation()


class CompressedVideoDataModule(DeviceTransforms, ABC):
    """Batches of compressed clips for training, validation, test and prediction.

    Subclasses define the class names on construction and list the videos in :meth:`scan`. Videos are
    distributed to processes by the sampler.

    - Training: a random window in each of the video's equal spans, a random crop, and the given augmentation.
    - Validation: the middle window of each span, the center crop.
    - Test and prediction: the views of the protocol. Each temporal view is read once and cropped on the
      device, where a batch holds at most ``max(batch_size, crops)`` clips. For a video too short for all
      temporal views, the distinct ones are scored.

    Args:
        root: Folder of the data set.
        class_names: Class names by index.
        batch_size: Clips per batch and process.
        num_workers: Reading processes per loader; by default one per CPU core, at most 4.
        sampling: Windows and fields that make a clip; ``views`` and ``crops`` apply to test and prediction,
            while training and validation read one of each.
        augmentation: Random changes of training clips.
        protocol: Named views in test and prediction: ``coviar`` (10 crops and 25 segments), or temporal x
            spatial views: ``1x1``, ``1x3``, ``2x3``, ``4x3``, ``5x1``, ``5x3``, ``10x3``.
        test_crop: Side of the crops in test and prediction, ``sampling.crop`` by default; stored in
            checkpoints. A slightly larger crop is often better (Touvron et al., "Fixing the train-test
            resolution discrepancy", 2019).
        seed: Seed of the training order and windows.
        on_error: ``raise`` stops at an unreadable video with the reader's error, ``skip`` leaves it out. The
            log names it once, and results count it; one unreadable view makes a video unreadable.
        index_dir: Folder of the packet indexes, relative to the root unless absolute. The first run creates
            them, later runs update them; it may be deleted at any time. null keeps no indexes, so reading
            takes longer.

    Attributes:
        sampling, augmentation: As given, with one view and one crop.
        test_sampling: How files are read into clips in test and prediction, as stored in checkpoints.
        videos: Videos of the subsets ``train``, ``val`` and ``test``; empty before :meth:`setup`.
        reading: Log of unreadable videos.
        indexes: Packet indexes; None before :meth:`setup`, and if ``index_dir`` is null.
        writable: Whether to write below the root; false if the root comes from a checkpoint.

    Raises:
        ValueError: An option is out of range.
    """

    mirrorable = True
    """Whether clips may be mirrored; False in subclasses whose classes tell left from right."""

    def __init__(
        self,
        root: str | Path,
        class_names: list[str],
        batch_size: int = 8,
        num_workers: int | None = None,
        sampling: ClipSampling = SAMPLING,
        augmentation: Augmentation = AUGMENTATION,
        protocol: ProtocolName | None = None,
        test_crop: int | None = None,
        seed: int = 0,
        on_error: OnError = "raise",
        index_dir: str | Path | None = ".cvr_index",
    ) -> None:
        super().__init__()
        check_choice("on_error", on_error, get_args(OnError))
        check_seed("seed", seed)
        if batch_size < 1:
            raise ValueError(f"batch_size={batch_size} must be at least 1")
        if num_workers is not None and num_workers < 0:
            raise ValueError(f"num_workers={num_workers} must not be negative")
        self.root = Path(root)
        self.class_names = class_names
        self.batch_size = batch_size
        self.num_workers = min(4, os.cpu_count() or 1) if num_workers is None else num_workers
        self.sampling = replace(sampling, views=1, crops=1)
        self.augmentation = augmentation if self.mirrorable else replace(augmentation, flip=False)
        self.train_transform = TrainTransform(self.sampling, self.augmentation, len(class_names))
        chosen = choose_protocol(protocol, sampling.views, sampling.crops)
        if chosen.crops == 10 and not self.mirrorable:
            named = protocol or "crops=10"
            raise ValueError(
                f"{named} mirrors clips, but left and right are different classes of {type(self).__name__}: "
                "use 5 crops"
            )
        self.protocol_name = protocol
        self.test_sampling = replace(
            sampling,
            segments=chosen.segments or sampling.segments,
            views=chosen.views,
            crops=chosen.crops,
            crop=sampling.crop if test_crop is None else test_crop,
            form="auto" if sampling.form == "stored" else sampling.form,
        )
        self.seed = seed
        self.on_error: OnError = on_error
        self.writable = True
        self.index_dir = index_dir
        self.videos: Mapping[str, VideoList] = {}
        self.indexes: IndexCache | None = None
        self.reading = ReadingLog()
        self._train_loader: VideoLoader | None = None
        self._train_state: dict[str, int] = {}

    def __repr__(self) -> str:
        counts = ", ".join(f"{len(videos)} {subset}" for subset, videos in self.videos.items())
        return (
            f"{type(self).__name__}({str(self.root)!r}: {counted(self.num_classes, 'class', 'classes')}, "
            f"{counts or 'not set up'}, {self.sampling.summary()}, batches of {self.batch_size})"
        )

    __str__ = __repr__  # the trainer's own would start the loaders

    def plot(self, subset: str = "train", videos: int = 4) -> Figure:
        """Draw clips as the model gets them, augmented in training.

        Args:
            subset: ``train``, ``val`` or ``test``.
            videos: Number of videos, spread over the subset.

        Raises:
            ValueError: There is no such subset, or no video in it.
            VideoError: A video cannot be read, and ``on_error`` is ``raise``.
        """
        from cvr_lightning import plot_subset

        return plot_subset(self, subset, videos)

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @property
    def residual_channels(self) -> int:
        """Channels C of the residual, for the model."""
        return self.sampling.residual_channels

    @property
    def pframes(self) -> int:
        """P-frames T per window, for pretraining."""
        return self.sampling.pframes

    @property
    def representation(self) -> ClipRepresentation:
        """Representation of P-frames, for the model."""
        return self.sampling.representation

    @property
    def names(self) -> dict[str, Sequence[str]]:
        """Names of each subset's videos; the batch's ``video`` indexes them."""
        return {subset: videos.names for subset, videos in self.videos.items()}

    @property
    def protocol(self) -> dict[str, Any]:
        """How the test subset is evaluated, for results.json."""
        about = {"name": self.protocol_name, "dataset": type(self).__name__, "subset": "test"}
        return about | evaluation_of(self.test_sampling)

    @property
    def missing_counts(self) -> dict[str, int]:
        """Number of annotated videos per subset that are missing, after setup."""
        return dict.fromkeys(self.videos, 0)

    @abstractmethod
    def scan(self) -> Mapping[str, VideoList]:
        """List the videos of the subsets ``train``, ``val`` and ``test``.

        Raises:
            DatasetNotFoundError: A subset or its files are missing.
        """

    def prepare_data(self) -> None:
        """Index the videos that will be read, if new or changed; see ``index_dir``."""
        self.setup()
        if self.indexes is not None and self.writable:
            subsets = _SUBSETS.get(self.trainer.state.fn or "", self.videos) if self.trainer else self.videos
            names = [name for subset in subsets for name in self.videos[subset].names]
            self.indexes.update(names, os.cpu_count() or 1 if self.num_workers else 0)

    def setup(self, stage: str | None = None) -> None:
        """Find the videos and their indexes, once per process; note the form of the training videos."""
        if not self.videos:
            self.videos = self.scan()
            if self.index_dir is not None:
                self.indexes = IndexCache(self.root, self.root / self.index_dir, self.writable)
        if stage == "fit" and self.sampling.form == "stored":
            training = self.dataset("train", self.sampling, training=False)
            self.test_sampling = forms.as_seen(training, self.test_sampling)

    def adopt_form(self, sampling: ClipSampling) -> None:
        """Evaluate in the form that a checkpoint's sampling states."""
        self.sampling, self.test_sampling = (
            replace(own, form=sampling.form, recipe=sampling.recipe)
            for own in (self.sampling, self.test_sampling)
        )

    def train_dataloader(self) -> VideoLoader:
        """Shuffled clips with new random windows every epoch."""
        self._train_loader = self._loader("train", self.sampling, self.batch_size, training=True)
        if self._train_state:
            self._train_loader.load_state_dict(self._train_state)
            self._train_state = {}
        return self._train_loader

    def val_dataloader(self) -> VideoLoader:
        """The middle view of each validation video."""
        return self._loader("val", self.sampling, self.batch_size)

    def test_dataloader(self) -> VideoLoader:
        """Every temporal view of each test video."""
        sampling = self.test_sampling
        return self._loader("test", sampling, max(1, self.batch_size // sampling.crops))

    def predict_dataloader(self) -> VideoLoader:
        """The test subset."""
        return self.test_dataloader()

    def state_dict(self) -> dict[str, Any]:
        """Epoch and batch of the training, for checkpoints written in the middle of an epoch."""
        return {} if self._train_loader is None else self._train_loader.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue after that batch; the trainer would not, since it builds the loader before."""
        self._train_state = state_dict

    def dataset(self, subset: str, sampling: ClipSampling, training: bool) -> DrawnDataset:
        """Build the data set of a subset, indexed by the sampler's draws."""
        return DrawnDataset(
            self.videos[subset],
            sampling,
            root=self.root,
            training=training,
            seed=self.seed,
            on_error=self.on_error,
            indexes=self.indexes,
        )

    def _loader(
        self, subset: str, sampling: ClipSampling, batch_size: int, training: bool = False
    ) -> VideoLoader:
        self.setup()
        videos = self.videos[subset]
        if not len(videos):
            raise DatasetNotFoundError(
                f"{type(self).__name__}: none of the videos of the {subset} subset is in {self.root}; add "
                "them, or set --data.root to their folder"
            )
        return VideoLoader(
            self.dataset(subset, sampling, training),
            batch_size=batch_size,
            sampler=VideoSampler(len(videos), training, self.seed, sampling.views),
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
            pin_memory=torch.cuda.is_available(),
            collate_fn=collate_or_carry,
            worker_init_fn=start_worker,
            # Otherwise creating a loader would draw from the global generator.
            generator=torch.Generator().manual_seed(self.seed),
        )
