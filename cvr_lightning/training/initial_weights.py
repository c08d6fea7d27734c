"""Weights that a training starts from: ImageNet's for the I-path, or those of a checkpoint."""

from __future__ import annotations

from lightning_utilities.core.rank_zero import rank_zero_info
from torch import nn

from cvr_lightning.errors import naming
from cvr_lightning.models.weights import load_imagenet_weights
from cvr_lightning.training.architecture import own_recognizer
from cvr_lightning.training.checkpoint_model import load_pretrained


def set_initial_weights(
    model: nn.Module, iframe_weights: str | None, pretrained: str | None = None, iframe_lr: float = 1.0
) -> None:
    """Load initial weights, and freeze the I-path if its learning rate is zero.

    Args:
        model: The recognizer; a custom model if no option needs the recognizer.
        iframe_weights: ImageNet weights of the I-path, or None.
        pretrained: Checkpoint to start from, or None.
        iframe_lr: Ratio of the I-path's learning rate to that of the rest.

    Raises:
        CheckpointError: The checkpoint is damaged or does not fit.
        RunError: An option is given for a custom model.
        WeightsError: The ImageNet weights cannot be loaded.
    """
    if iframe_weights is not None:
        encoder = own_recognizer(model, "iframe_weights").iframe_encoder
        with naming("iframe_weights"):
            left = load_imagenet_weights(encoder, iframe_weights)
        rank_zero_info(f"I-frame encoder: {iframe_weights}, leaving out {', '.join(left)}")
    if pretrained is not None:
        recognizer = own_recognizer(model, "pretrained")
        with naming("pretrained"):
            names = load_pretrained(recognizer, pretrained)
        rank_zero_info(f"{pretrained}: {len(names.loaded)} weights loaded, all but {', '.join(names.left)}")
    if not iframe_lr:
        own_recognizer(model, "iframe_lr").iframe_encoder.requires_grad_(False)
