"""The datamodule that every data set shares: parts of labelled videos in, batches of compressed clips out."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import torch
from lightning import LightningDataModule

from cvr_lightning.clip import CompressedClip
from cvr_lightning.codec.arrays import MODALITIES, Modality, Representation
from cvr_lightning.codec.reader import ParserName
from cvr_lightning.datamodules.dataset import OnError, VideoDataset, VideoList
from cvr_lightning.datamodules.index_cache import IndexCache
from cvr_lightning.datamodules.loader import VideoLoader, collate_or_carry
from cvr_lightning.datamodules.sampling import ClipSampling, VideoSampler, check_choice
from cvr_lightning.datamodules.transforms import EvalTransform, TrainTransform

_PARTS = {"fit": ("train", "val"), "validate": ("val",), "test": ("test",), "predict": ("test",)}
"""The parts that each of the trainer's functions reads."""


class CompressedVideoDataModule(LightningDataModule, ABC):
    """Batches of compressed clips for training, validation, test and prediction.

    A data set is a subclass that knows its class names when it is built and finds its videos in :meth:`scan`.
    The sampler shares the videos between processes itself, so the trainer needs
    ``use_distributed_sampler=False``.

    Args:
        root: Folder of the data set.
        class_names: Name of each class, in the order of their indices.
        batch_size: Clips in a batch, in each process.
        num_workers: Reading processes of each loader; by default one for each CPU core, at most 4.
        segments: Windows spread over a video.
        pframes: P-frames of each window.
        height: Height of the frames as read, in pixels.
        width: Width of the frames as read, in pixels.
        crop: Side of the square crop that the model sees, in pixels, a multiple of 8.
        coefficients: DCT coefficients kept of a luma block and of each chroma block, in zigzag order.
        representation: ``block`` for the codec's 8x8 grid, ``pixel`` for full-size images.
        accumulate: Trace motion and residual back to the I-frame (CoViAR's definition).
        modalities: What is read of iframes, motion and residual; the rest is left zero.
        parser: The reader's parser.
        views: Temporal views of each video in test and prediction.
        flip: Mirror half of the training clips; only where left and right are not labels.
        colour: Largest relative change of the I-frames' brightness, contrast and saturation in training.
        seed: Seed of the order and of the windows in training.
        on_error: What a video that cannot be read does: ``raise`` stops with the reader's error, ``skip``
            leaves it out and names it in the batch.
        index_dir: Folder of the videos' packet indexes, relative to the root unless absolute. They are made
            when a video is first met and can be deleted at any time; null makes none, and each visit to a
            video takes longer.

    Attributes:
        class_names: Name of each class.
        sampling: How a file becomes a clip, as checkpoints store it.
        videos: The videos of the parts ``train``, ``val`` and ``test``; empty before :meth:`setup`.

    Raises:
        ValueError: Where an option is out of range; the message lists what is supported.
    """

    def __init__(
        self,
        root: str | Path,
        class_names: list[str],
        batch_size: int = 8,
        num_workers: int | None = None,
        segments: int = 8,
        pframes: int = 3,
        height: int = 256,
        width: int = 340,
        crop: int = 224,
        coefficients: tuple[int, int] = (16, 4),
        representation: Representation = "block",
        accumulate: bool = False,
        modalities: tuple[Modality, ...] = MODALITIES,
        parser: ParserName = "auto",
        views: int = 1,
        flip: bool = True,
        colour: float = 0.2,
        seed: int = 0,
        on_error: OnError = "raise",
        index_dir: str | Path | None = ".cvr_index",
    ) -> None:
        super().__init__()
        check_choice("on_error", on_error, get_args(OnError))
        if batch_size < 1:
            raise ValueError(f"batch_size={batch_size} must be at least 1")
        if num_workers is not None and num_workers < 0:
            raise ValueError(f"num_workers={num_workers} must not be negative")
        if not 0 <= colour < 1:
            raise ValueError(f"colour={colour} must lie in [0, 1)")
        self.root = Path(root)
        self.class_names = class_names
        self.batch_size = batch_size
        self.num_workers = min(4, os.cpu_count() or 1) if num_workers is None else num_workers
        self.sampling = ClipSampling(
            segments=segments,
            pframes=pframes,
            size=(height, width),
            crop=crop,
            representation=representation,
            accumulate=accumulate,
            modalities=tuple(modalities),
            coefficients=coefficients,
            views=views,
            parser=parser,
        )
        self.seed = seed
        self.on_error: OnError = on_error
        self.index_dir = index_dir
        self.videos: Mapping[str, VideoList] = {}
        self._indexes: IndexCache | None = None
        self._train_transform = TrainTransform(crop, flip, colour, coefficients)
        self._eval_transform = EvalTransform(crop)

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @property
    def residual_channels(self) -> int:
        """Channels C of the residual, which the model must know."""
        return self.sampling.residual_channels

    @property
    def names(self) -> dict[str, Sequence[str]]:
        """Names of the videos of each part; the batch's ``video`` indexes them."""
        return {part: videos.names for part, videos in self.videos.items()}

    @property
    def protocol(self) -> dict[str, Any]:
        """How the test part is evaluated, for the results' file."""
        return {
            "dataset": type(self).__name__,
            "part": "test",
            "segments": self.sampling.segments,
            "pframes": self.sampling.pframes,
            "modalities": list(self.sampling.modalities),
            "views": self.sampling.views,
            "crops": 1,
            "size": list(self.sampling.size),
            "crop": self.sampling.crop,
        }

    @abstractmethod
    def scan(self) -> Mapping[str, VideoList]:
        """Find the videos of the parts ``train``, ``val`` and ``test``.

        Raises:
            DatasetNotFoundError: Where a part or its files are not there.
        """

    def prepare_data(self) -> None:
        """Index the videos that will be read, where they are new or have changed; see ``index_dir``."""
        self.setup()
        if self._indexes is not None:
            parts = _PARTS.get(self.trainer.state.fn or "", self.videos) if self.trainer else self.videos
            names = [name for part in parts for name in self.videos[part].names]
            self._indexes.update(names, os.cpu_count() or 1 if self.num_workers else 0)

    def setup(self, stage: str | None = None) -> None:
        """Find the videos and their indexes, once in each process."""
        if not self.videos:
            self.videos = self.scan()
            if self.index_dir is not None:
                self._indexes = IndexCache(self.root, self.root / self.index_dir)

    def train_dataloader(self) -> VideoLoader:
        """Shuffled clips with a new random window in each span every epoch."""
        return self._loader("train", training=True)

    def val_dataloader(self) -> VideoLoader:
        """The middle view of each validation video."""
        return self._loader("val")

    def test_dataloader(self) -> VideoLoader:
        """Every view of each test video."""
        return self._loader("test", views=self.sampling.views)

    def predict_dataloader(self) -> VideoLoader:
        """The test part."""
        return self.test_dataloader()

    def transfer_batch_to_device(
        self, batch: CompressedClip, device: torch.device, dataloader_idx: int
    ) -> CompressedClip:
        """Move the batch, without waiting where its memory is pinned."""
        return batch.to(device, non_blocking=device.type == "cuda")

    def on_after_batch_transfer(self, batch: CompressedClip, dataloader_idx: int) -> CompressedClip:
        """Crop, and in training augment, on the device."""
        training = self.trainer is not None and self.trainer.training
        return self._train_transform(batch) if training else self._eval_transform(batch)

    def _loader(self, part: str, training: bool = False, views: int = 1) -> VideoLoader:
        self.setup()
        videos = self.videos[part]
        return VideoLoader(
            VideoDataset(
                self.root, videos, self.sampling, training, self.seed, views, self.on_error, self._indexes
            ),
            batch_size=self.batch_size,
            sampler=VideoSampler(len(videos), training, self.seed, views),
            num_workers=self.num_workers,
            # The platform's own way to start workers, fork on Linux, is safe here: each worker opens its own
            # files, the kernels run on one thread, and no worker touches CUDA.
            multiprocessing_context=None,
            persistent_workers=self.num_workers > 0,
            pin_memory=torch.cuda.is_available(),
            collate_fn=collate_or_carry,
            # Otherwise starting a loader would draw from the global generator that augmentation uses.
            generator=torch.Generator().manual_seed(self.seed),
        )
