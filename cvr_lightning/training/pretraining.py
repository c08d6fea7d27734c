"""Pretraining without labels: masked prediction of motion and residual, as a LightningModule."""

from __future__ import annotations

from typing import Any

import torch
from lightning import LightningModule
from lightning.pytorch.plugins.precision import DoublePrecision
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor

from cvr_lightning.clip import CompressedClip
from cvr_lightning.datamodules import CompressedVideoDataModule
from cvr_lightning.datamodules.reading import reading_log
from cvr_lightning.errors import CheckpointError, CropError
from cvr_lightning.models import CompressedVideoRecognizer, Preset
from cvr_lightning.models.iframe_encoder import STRIDE, check_frame_size
from cvr_lightning.models.pretraining import MaskedError, MaskedPretraining, draw_places
from cvr_lightning.training.checkpoint import CHECKPOINT_KEY, refuse_fewer_epochs, refuse_other_optimizer
from cvr_lightning.training.checkpoint_schema import own_section
from cvr_lightning.training.initial_weights import set_initial_weights
from cvr_lightning.training.optimizer import adamw, seed_step, zero_loss


class PretrainingModule(LightningModule):
    """Trains a recognizer to predict hidden motion and residual; see :mod:`cvr_lightning.models.pretraining`.

    Our own recipe, not that of arXiv 2503.13724. Start training from its checkpoint with
    ``cvr fit --model.pretrained RUN/checkpoints/last.ckpt``.

    Logs ``train/loss`` and ``train/learning_rate`` per step, and ``val/loss``, its terms ``val/motion`` and
    ``val/residual``, and ``val/loss_of_zero`` per epoch. The last is the loss of predicting zeros, a baseline
    for ``val/loss``. Validation hides the same places in every epoch.

    Args:
        residual_channels: DCT coefficients per block; set from the data.
        pframes: P-frames per segment; set from the data.
        preset: Model size.
        mask_ratio: Fraction of the places of a segment that are hidden.
        learning_rate: Peak learning rate.
        weight_decay: Weight decay of matrices and kernels; norms, biases and neuron constants do not decay.
        warmup_ratio: Fraction of the steps in which the learning rate rises linearly.
        final_lr_ratio: Ratio of the last to the peak learning rate.
        iframe_weights: Initial ImageNet weights of the I-frame encoder, as for ``cvr fit``.

    Attributes:
        masked: The recognizer and the decoder.
        run_config: Configuration stored in checkpoints; set by the command line.

    Raises:
        ValueError: ``mask_ratio`` is not between 0 and 1.
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
            raise ValueError(f"mask_ratio={mask_ratio} must be between 0 and 1")
        self.masked = MaskedPretraining(preset, residual_channels, pframes)
        self.architecture: dict[str, Any] = {
            name: self.recognizer.architecture[name]
            for name in self.recognizer.architecture.keys() - {"num_classes", "dropout"}
        }
        self.mask_ratio = mask_ratio
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.warmup_ratio = warmup_ratio
        self.final_lr_ratio = final_lr_ratio
        self.iframe_weights = iframe_weights
        self.run_config: dict[str, Any] = {}

    @property
    def recognizer(self) -> CompressedVideoRecognizer:
        """The pretrained model, without its head."""
        return self.masked.recognizer

    def setup(self, stage: str) -> None:
        """Check the crops; at the start of training, load published weights.

        Raises:
            CropError: The model does not support the data's crop.
        """
        data = getattr(self.trainer, "datamodule", None)
        if isinstance(data, CompressedVideoDataModule):
            check_frame_size(data.sampling.crop, data.sampling.crop)
            if data.sampling.crop == STRIDE:
                raise CropError(f"crop={STRIDE} gives a single token, with no other to predict it from")
        if stage == "fit":
            set_initial_weights(self.recognizer, self.iframe_weights)

    def configure_model(self) -> None:
        """Convert to float64 before a checkpoint is loaded; Lightning converts after, when it is rounded."""
        if isinstance(self.trainer.precision_plugin, DoublePrecision):
            self.double()

    def on_train_epoch_start(self) -> None:
        """Start counting readable clips."""
        reading_log(self.trainer).start_epoch("train")

    def on_train_epoch_end(self) -> None:
        """Check that clips could be read."""
        reading_log(self.trainer).end_epoch("train")

    def on_validation_epoch_start(self) -> None:
        """Start counting readable clips."""
        reading_log(self.trainer).start_epoch("val")

    def on_validation_epoch_end(self) -> None:
        """Check that clips could be read."""
        reading_log(self.trainer).end_epoch("val")

    def training_step(self, clip: CompressedClip, batch_index: int) -> Tensor:
        """Error of a batch's hidden places."""
        seed_step(self, batch_index)
        if not len(clip):
            return zero_loss(self)
        loss = self._error(clip).loss
        self.log("train/loss", loss, prog_bar=True, batch_size=len(clip))
        self.log("train/learning_rate", self.optimizers().param_groups[0]["lr"])  # type: ignore[union-attr]
        return loss

    def validation_step(self, clip: CompressedClip, batch_index: int) -> None:
        """Error of a batch's hidden places, the same places in every epoch."""
        error = MaskedError(*torch.zeros(3, device=self.device))  # of an empty batch: every process must log
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
        """AdamW with linear warmup and cosine decay of the learning rate, per step."""
        return adamw(self, self.learning_rate, self.weight_decay, self.warmup_ratio, self.final_lr_ratio)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Store what starting a training from this checkpoint needs."""
        checkpoint[CHECKPOINT_KEY] = own_section(self.architecture, self.run_config)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse to resume a labeled training, or a finished one.

        Raises:
            CheckpointError: The checkpoint has classes, or more epochs than requested.
        """
        if "class_names" in checkpoint.get(CHECKPOINT_KEY, {}):
            raise CheckpointError("--ckpt_path is a checkpoint of `cvr fit`, which pretraining cannot resume")
        refuse_fewer_epochs(checkpoint, self.trainer)
        refuse_other_optimizer(checkpoint, self.run_config, self.trainer)
