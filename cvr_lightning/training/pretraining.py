"""Pretraining without labels: masked prediction of motion and residual, as a LightningModule."""

from __future__ import annotations

from typing import Any

import torch
from lightning import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from lightning_utilities.core.rank_zero import rank_zero_info
from torch import Tensor

from cvr_lightning.clip import CompressedClip
from cvr_lightning.datamodules import CompressedVideoDataModule
from cvr_lightning.datamodules.reading import reading_log
from cvr_lightning.errors import CheckpointError, CropError
from cvr_lightning.evaluation.provenance import versions
from cvr_lightning.models import CompressedVideoRecognizer, Preset
from cvr_lightning.models.encoders import STRIDE, check_frame_size
from cvr_lightning.models.pretraining import MaskedError, MaskedPretraining, draw_places
from cvr_lightning.models.weights import load_imagenet_weights
from cvr_lightning.training.checkpoint import CHECKPOINT_KEY, refuse_fewer_epochs, refuse_other_optimizer
from cvr_lightning.training.checkpoint_schema import FORMAT, taken
from cvr_lightning.training.optimizer import adamw, seed_step, zero_loss


class PretrainingModule(LightningModule):
    """Trains a recogniser to predict hidden motion and residual; see :mod:`cvr_lightning.models.pretraining`.

    Our own recipe, not that of arXiv 2503.13724. ``cvr fit --model.pretrained
    RUN/checkpoints/last.ckpt`` starts from what it writes.

    Logged: ``train/loss`` and ``train/learning_rate`` per step; ``val/loss``, its parts ``val/motion`` and
    ``val/residual``, and ``val/loss_of_zero`` per epoch. The last is the loss of a prediction of nothing:
    what has been learnt shows in the distance to it. Validation hides the same places every epoch.

    Args:
        residual_channels: DCT coefficients of a block that the data delivers; given by the data set.
        pframes: P-frames of a segment; given by the data set.
        preset: Size of the model.
        mask_ratio: Share of the places of a segment that are hidden.
        learning_rate: Peak learning rate.
        weight_decay: Decay of matrices and kernels; norms, biases and neuron constants have none.
        warmup_ratio: Share of the steps over which the learning rate rises linearly.
        final_lr_ratio: Share of the peak learning rate at which the cosine ends.
        iframe_weights: ImageNet weights that the I-frame encoder starts from, as for ``cvr fit``.

    Attributes:
        masked: The recogniser and the decoder.
        run_config: The configuration that checkpoints carry; set by the command line.

    Raises:
        ValueError: Where ``mask_ratio`` does not lie between 0 and 1.
    """

    def __init__(
        self,
        residual_channels: int = 24,
        pframes: int = 3,
        preset: Preset = "tiny",
        mask_ratio: float = 0.6,
        learning_rate: float = 2e-3,
        weight_decay: float = 0.05,
        warmup_ratio: float = 0.1,
        final_lr_ratio: float = 0.01,
        iframe_weights: str | None = None,
    ) -> None:
        super().__init__()
        if not 0 < mask_ratio < 1:
            raise ValueError(f"mask_ratio={mask_ratio} must lie between 0 and 1")
        self.architecture: dict[str, Any] = {
            "preset": preset,
            "residual_channels": residual_channels,
            "representation": "block",
            "ablate": [],
            "levels": 1,
            "streams": False,
        }
        self.masked = MaskedPretraining(preset, residual_channels, pframes)
        self.mask_ratio = mask_ratio
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.warmup_ratio = warmup_ratio
        self.final_lr_ratio = final_lr_ratio
        self.iframe_weights = iframe_weights
        self.run_config: dict[str, Any] = {}

    @property
    def recognizer(self) -> CompressedVideoRecognizer:
        """The model that is pretrained, without its head."""
        return self.masked.recognizer

    def setup(self, stage: str) -> None:
        """Check the crops, and load the published weights where training begins.

        Raises:
            CropError: Where the model does not take the data's crops.
        """
        data = getattr(self.trainer, "datamodule", None)
        if isinstance(data, CompressedVideoDataModule):
            check_frame_size(data.sampling.crop, data.sampling.crop)
            if data.sampling.crop == STRIDE:
                raise CropError(f"crop={STRIDE} is a single place, with nothing beside it to predict it from")
        if stage == "fit" and self.iframe_weights is not None:
            left = load_imagenet_weights(self.recognizer.iframe_encoder, self.iframe_weights)
            rank_zero_info(f"I-frame encoder: {self.iframe_weights}, leaving out {', '.join(left)}")

    def on_train_epoch_start(self) -> None:
        """Count what can be read."""
        reading_log(self.trainer).start_epoch("train")

    def on_train_epoch_end(self) -> None:
        """Check that there was something to train on."""
        reading_log(self.trainer).end_epoch("train")

    def on_validation_epoch_start(self) -> None:
        """Count what can be read."""
        reading_log(self.trainer).start_epoch("val")

    def on_validation_epoch_end(self) -> None:
        """Check that there was something to validate on."""
        reading_log(self.trainer).end_epoch("val")

    def training_step(self, clip: CompressedClip, batch_index: int) -> Tensor:
        """Error of the hidden places of a batch."""
        seed_step(self, batch_index)
        if not len(clip):
            return zero_loss(self)
        loss = self._error(clip).loss
        self.log("train/loss", loss, prog_bar=True, batch_size=len(clip))
        self.log("train/learning_rate", self.optimizers().param_groups[0]["lr"])  # type: ignore[union-attr]
        return loss

    def validation_step(self, clip: CompressedClip, batch_index: int) -> None:
        """Error of the hidden places, the same in every epoch."""
        error = MaskedError(*torch.zeros(3, device=self.device))  # of no clip: all processes must log
        if len(clip):
            error = self._error(clip, torch.Generator().manual_seed(batch_index))
        values = {
            "loss": error.loss,
            "motion": error.motion,
            "residual": error.residual,
            "loss_of_zero": error.of_zero,
        }
        for name, value in values.items():
            self.log(f"val/{name}", value, prog_bar=name == "loss", batch_size=len(clip), sync_dist=True)

    def _error(self, clip: CompressedClip, generator: torch.Generator | None = None) -> MaskedError:
        hidden_ML = draw_places(clip, self.mask_ratio, generator)
        return self.masked.error(self.masked(clip, hidden_ML), clip, hidden_ML)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """AdamW, and a learning rate that rises linearly and falls as a cosine, step by step."""
        return adamw(self, self.learning_rate, self.weight_decay, self.warmup_ratio, self.final_lr_ratio)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Store what it takes to start a training from it."""
        checkpoint[CHECKPOINT_KEY] = {
            "format": FORMAT,
            "architecture": self.architecture,
            "config": taken(self.run_config),
            "versions": versions(),
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse to resume a training with labels, or one that is over.

        Raises:
            CheckpointError: Where the checkpoint knows classes, or has more epochs than are asked for.
        """
        if "class_names" in checkpoint.get(CHECKPOINT_KEY, {}):
            raise CheckpointError("--ckpt_path is a checkpoint of `cvr fit`, which pretraining cannot resume")
        refuse_fewer_epochs(checkpoint, self.trainer)
        refuse_other_optimizer(checkpoint, self.run_config, self.trainer)
