"""The part of a datamodule that runs on the device: transfer, augmentation and crops of batches."""

from __future__ import annotations

import torch
from lightning import LightningDataModule

from cvr_lightning.clip import CompressedClip
from cvr_lightning.datamodules.pipelines import EvalTransform, TrainTransform
from cvr_lightning.datamodules.reading import ReadingLog
from cvr_lightning.datamodules.sampling import ClipSampling, clip_generators


class DeviceTransforms(LightningDataModule):
    """Moves batches to the device, and augments or crops them there.

    Attributes:
        sampling: How files are read into clips in training and validation.
        test_sampling: The same in test and prediction.
        train_transform: Augmentation of training clips.
        seed: Seed of the augmentation.
        reading: Log of unreadable videos.
    """

    sampling: ClipSampling
    test_sampling: ClipSampling
    train_transform: TrainTransform
    seed: int
    reading: ReadingLog

    def on_before_batch_transfer(self, batch: CompressedClip, dataloader_idx: int) -> CompressedClip:
        """Record unreadable videos before the transfer, to avoid synchronizing the device later."""
        self._batch_videos = batch.video.tolist()
        return batch

    def transfer_batch_to_device(
        self, batch: CompressedClip, device: torch.device, dataloader_idx: int
    ) -> CompressedClip:
        """Move the batch, asynchronously from pinned memory."""
        return batch.to(device, non_blocking=device.type == "cuda")

    def on_after_batch_transfer(self, batch: CompressedClip, dataloader_idx: int) -> CompressedClip:
        """Augment, or cut the views, on the device; log unreadable videos."""
        is_test = self.trainer is not None and (self.trainer.testing or self.trainer.predicting)
        sampling = self.test_sampling if is_test else self.sampling
        self.reading.note(self._subset(), batch, sampling.recipe)
        if self.trainer is not None and self.trainer.training:
            own = clip_generators(self.seed, self.trainer.current_epoch, self._batch_videos)
            return self.train_transform(batch, own)
        return EvalTransform(sampling)(batch)

    def _subset(self) -> str:
        """The subset that the trainer currently reads; empty in its sanity check."""
        trainer = self.trainer
        if trainer is None or trainer.sanity_checking:
            return ""
        return "train" if trainer.training else "val" if trainer.validating else "test"
