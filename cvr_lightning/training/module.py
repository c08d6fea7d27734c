"""Training and evaluation of the recognizer: loss, metrics, optimizer, schedule, checkpoints."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import Any

import torch
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from lightning_utilities.core.rank_zero import rank_zero_info
from torch import Tensor, nn

from cvr_lightning.clip import CompressedClip
from cvr_lightning.datamodules import CompressedVideoDataModule
from cvr_lightning.datamodules.reading import reading_log
from cvr_lightning.errors import CheckpointError
from cvr_lightning.evaluation.video_table import Averaging
from cvr_lightning.files.printable import count_text, counted
from cvr_lightning.models import Ablation, CompressedVideoRecognizer, Preset, Representation
from cvr_lightning.models.iframe_encoder import check_frame_size
from cvr_lightning.training.architecture import architecture_of, checked_logits, refuse_options
from cvr_lightning.training.checkpoint import (
    CHECKPOINT_KEY,
    load_checkpoint,
    refuse_fewer_epochs,
    refuse_other_optimizer,
)
from cvr_lightning.training.checkpoint_model import (
    adopt_form,
    build_model,
    recognizer_weights,
    refuse_other_model,
    require_fit,
)
from cvr_lightning.training.checkpoint_schema import HYPER_PARAMETERS, chosen, own_section
from cvr_lightning.training.compiling import compile_in_place
from cvr_lightning.training.initial_weights import set_initial_weights
from cvr_lightning.training.loss import cross_entropy, modality_cross_entropy
from cvr_lightning.training.optimizer import adamw, seed_step, zero_loss
from cvr_lightning.training.scoring import ScoringModule


class RecognitionModule(ScoringModule):
    """Trains and tests a :class:`CompressedVideoRecognizer` or a custom model.

    Logs ``train/loss``, ``train/top1`` and ``train/learning_rate`` per step, over the clips of all processes;
    ``val/loss``, ``val/top1`` and ``val/top5`` per epoch; ``test/loss``, ``test/top1`` and ``test/top5``.
    Validation and test metrics are over whole videos, each counted once across processes, with averaged
    views. Unreadable videos are excluded, and their number is logged as ``val/unreadable`` or
    ``test/unreadable`` if not zero. Top-5 is logged with more than five classes. For mixed clips,
    ``train/top1`` counts the class of the larger weight as correct.

    Args:
        class_names: Name of each class, in the order of their indices; given by the data set.
        residual_channels: DCT coefficients of a block that the data delivers; given by the data set.
        representation: Representation of P-frames that the data delivers; given by the data set.
        model: A custom model: any module that takes a :class:`~cvr_lightning.clip.CompressedClip` and
            returns logits (B, classes). None builds a :class:`CompressedVideoRecognizer` from the following
            options, up to ``dropout``. Checkpoints store its weights but not its class, so give it again when
            loading them.
        preset: Size of the model.
        ablate: Components to leave out: ``global_motion`` (no compensation), ``spikes`` (replaced by a ReLU),
            ``current_readout``, ``modulation`` (of the I-frame features by the P-frames).
        levels: Most spikes of a neuron per step, 1 to 4; 1 gives binary spikes.
        adaptive: Whether recent spikes and I-frame features change the thresholds of neurons.
        exchange: Whether the transformer's attention spans both modalities.
        mixers: Number of multi-modal mixers after the transformer, 0 to 8.
        dropout: Fraction of the features dropped before the heads.
        label_smoothing: Fraction of the target spread over all classes.
        modality_loss: Weight of the sum of each modality's own cross entropy. Custom models have none.
        averaging: What is averaged over the views of a video: ``softmax`` or ``logits``.
        learning_rate: Peak learning rate.
        weight_decay: Weight decay of matrices and kernels; norms, biases and neuron constants do not decay.
        warmup_ratio: Fraction of the steps in which the learning rate rises linearly.
        final_lr_ratio: Ratio of the last to the peak learning rate.
        iframe_weights: Initial ImageNet weights of the I-path: a safetensors file of ConvNeXt-Atto (preset
            small) or -Pico (base) with timm's names, or such as ``hub:timm/convnext_atto.d2_in1k``;
            ``imagenet`` for EfficientNet-Lite0 (preset lite), from the extra of that name; random if None.
        iframe_lr: Ratio of the I-path's learning rate to that of the rest. 0 freezes it and skips its
            backward pass.
        pretrained: Checkpoint to start from, of ``cvr pretrain``, or of ``cvr fit`` on other classes, with
            the same preset. Everything except the head is loaded.
        compile: Train with ``torch.compile``, which needs a C++ compiler on a CPU.

    Attributes:
        recognizer: The model.
        table: Per-video scores of the last validation, test or prediction epoch.
        run_config: Configuration stored in results and checkpoints; set by the command line.
    """

    def __init__(
        self,
        class_names: list[str],
        residual_channels: int = 24,
        representation: Representation = "block",
        model: nn.Module | None = None,
        preset: Preset = "tiny",
        ablate: Sequence[Ablation] = (),
        levels: int = 4,
        adaptive: bool = False,
        exchange: bool = False,
        mixers: int = 0,
        dropout: float = 0.1,
        label_smoothing: float = 0.1,
        modality_loss: float = 0.5,
        averaging: Averaging = "softmax",
        learning_rate: float = 2e-3,
        weight_decay: float = 0.05,
        warmup_ratio: float = 0.1,
        final_lr_ratio: float = 0.01,
        iframe_weights: str | None = None,
        iframe_lr: float = 1.0,
        pretrained: str | None = None,
        compile: bool = False,
    ) -> None:
        super().__init__(class_names, averaging)
        if iframe_weights is not None and pretrained is not None:
            raise ValueError("pretrained holds the I-frame encoder as well: leave iframe_weights out")
        self.save_hyperparameters(ignore=["model"], logger=False)
        options: dict[str, Any] = {
            "preset": preset,
            "dropout": dropout,
            "ablate": ablate,
            "levels": levels,
            "adaptive": adaptive,
            "exchange": exchange,
            "mixers": mixers,
        }
        of_own = {"iframe_weights": iframe_weights, "pretrained": pretrained, "iframe_lr": iframe_lr}
        if model is not None:
            refuse_options(model, options, of_own)
        else:
            model = CompressedVideoRecognizer(
                len(class_names),
                residual_channels=residual_channels,
                representation=representation,
                **options,
            )
        self.recognizer: nn.Module = model
        self.label_smoothing = label_smoothing
        self.modality_loss = modality_loss
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.warmup_ratio = warmup_ratio
        self.final_lr_ratio = final_lr_ratio
        self.iframe_weights = iframe_weights
        if not 0 <= label_smoothing <= 1:
            raise ValueError(f"label_smoothing={label_smoothing} must lie between 0 and 1")
        if not 0 <= modality_loss < math.inf:
            raise ValueError(f"modality_loss={modality_loss} must not be negative")
        if not iframe_lr >= 0:
            raise ValueError(f"iframe_lr={iframe_lr} must not be negative")
        self.iframe_lr = iframe_lr
        self.pretrained = pretrained
        self.compiles = compile
        self.run_config: dict[str, Any] = {}

    @property
    def architecture(self) -> dict[str, Any]:
        """Description of the model for checkpoints."""
        return architecture_of(self.recognizer, len(self.class_names))

    def forward(self, clip: CompressedClip) -> Tensor:
        """Logits (B, classes) of a batch.

        Raises:
            RunError: The model returns something else.
        """
        return checked_logits(self.recognizer, clip, len(self.class_names))

    def setup(self, stage: str) -> None:
        """Check the crops, and load initial weights, which a resumed run overwrites.

        Raises:
            CropError: The model does not support the data's crop.
        """
        data = getattr(self.trainer, "datamodule", None)
        model = self.recognizer
        is_own = isinstance(model, CompressedVideoRecognizer)
        if is_own and isinstance(data, CompressedVideoDataModule):
            for crop in (data.sampling.crop, data.test_sampling.crop):
                check_frame_size(crop, crop)
        if stage == "fit":
            set_initial_weights(model, self.iframe_weights, self.pretrained, self.iframe_lr)
        if stage == "fit" and self.compiles:
            compile_in_place(model, self.trainer.strategy.root_device)

    def on_fit_start(self) -> None:
        """Log the size of the model."""
        parameters = sum(parameter.numel() for parameter in self.recognizer.parameters())
        name = self.architecture.get("preset") or type(self.recognizer).__qualname__
        classes = counted(len(self.class_names), "class", "classes")
        rank_zero_info(f"Model {name}: {count_text(parameters)} parameters, {classes}")

    def on_train_epoch_start(self) -> None:
        """Exchange names of unreadable videos, so that each is logged once."""
        reading_log(self.trainer).share()
        reading_log(self.trainer).start_epoch("train")

    def training_step(self, clip: CompressedClip, batch_index: int) -> Tensor:
        """Loss of a batch, against labels or the soft targets of mixed clips; its cross entropy is logged."""
        seed_step(self, batch_index)
        self.log("train/learning_rate", self.optimizers().param_groups[0]["lr"])  # type: ignore[union-attr]
        if not len(clip):
            self._step_sums = torch.zeros(3, dtype=torch.float32, device=self.device)
            return zero_loss(self)
        logits, modality_loss = self._logits_and_modality_loss(clip)
        loss = cross_entropy(logits, clip, self.label_smoothing)
        right = (logits.argmax(dim=-1) == clip.label).sum()
        mean = loss.detach().float()
        self._step_sums = torch.stack([len(clip) * mean, right.float(), torch.full_like(mean, len(clip))])
        return loss + modality_loss

    def _logits_and_modality_loss(self, clip: CompressedClip) -> tuple[Tensor, Tensor | float]:
        if not isinstance(self.recognizer, CompressedVideoRecognizer):
            return self(clip), 0.0
        both = self.recognizer.modality_logits(clip)
        return both.mean(), self.modality_loss * modality_cross_entropy(both, clip, self.label_smoothing)

    def on_train_batch_end(self, outputs: Any, clip: CompressedClip, batch_index: int) -> None:
        """Log the metrics of the step over the clips of all processes, which have just synchronized."""
        loss, right, clips = self.trainer.strategy.reduce(self._step_sums, reduce_op="sum")
        # Skip our own empty batch; checking other ranks' would synchronize the device.
        if len(clip) or self.trainer.world_size > 1:
            self.log("train/loss", loss / clips, prog_bar=True)
            self.log("train/top1", right / clips, prog_bar=True)

    def on_train_epoch_end(self) -> None:
        """Check that clips could be read."""
        reading_log(self.trainer).end_epoch("train")

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """AdamW with linear warmup and cosine decay of the learning rate, per step."""
        rates = (self.learning_rate, self.weight_decay, self.warmup_ratio, self.final_lr_ratio)
        relative = None
        if isinstance(self.recognizer, CompressedVideoRecognizer):
            relative = (self.recognizer.iframe_encoder, self.iframe_lr)
        return adamw(self, *rates, relative=relative)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Store all that is needed to label a file: class names, architecture and sampling."""
        checkpoint["hyper_parameters"] = chosen({**self.hparams, **self.architecture}, HYPER_PARAMETERS)
        sampling = self.trainer.datamodule.test_sampling.to_dict()  # type: ignore[attr-defined]
        checkpoint[CHECKPOINT_KEY] = own_section(
            self.architecture,
            self.run_config,
            class_names=self.class_names,
            sampling=sampling,
            averaging=self.scores.averaging,
        )

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse weights of other classes or another model, and a finished training.

        Raises:
            CheckpointError: They differ; the message says how.
        """
        refuse_other_model(checkpoint, self.class_names, self.architecture)
        refuse_fewer_epochs(checkpoint, self.trainer)
        adopt_form(checkpoint, self.trainer)
        refuse_other_optimizer(checkpoint, self.run_config, self.trainer)
        if not isinstance(self.recognizer, CompressedVideoRecognizer):
            require_fit("the checkpoint", self.recognizer, recognizer_weights(checkpoint))

    @classmethod
    def load_from_checkpoint(  # type: ignore[override]
        cls,
        checkpoint_path: str | os.PathLike[str],
        map_location: torch.device | str = "cpu",
        model: nn.Module | None = None,
        **options: Any,
    ) -> RecognitionModule:
        """Build a trained module from a checkpoint; nothing in the file is executed.

        Args:
            checkpoint_path: Checkpoint written by ``cvr fit`` or by a Trainer.
            map_location: Device of the weights.
            model: The custom model, if the weights are of one; a checkpoint does not import classes.
            **options: Arguments of the module that override those of the checkpoint.

        Raises:
            CheckpointError: The file is missing, damaged, not of this package, or of another model.
        """
        checkpoint = load_checkpoint(checkpoint_path)
        trained = build_model(str(checkpoint_path), checkpoint, model)
        about = checkpoint[CHECKPOINT_KEY]
        stored = {**checkpoint.get("hyper_parameters", {}), **chosen(about["architecture"], HYPER_PARAMETERS)}
        try:
            module = cls(**{**stored, "class_names": about["class_names"], "model": model, **options})
        except (TypeError, ValueError) as error:
            raise CheckpointError(f"{checkpoint_path}: {error}") from error
        module.recognizer = trained
        return module.to(map_location)
