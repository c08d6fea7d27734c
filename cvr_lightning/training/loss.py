"""Losses of a batch: cross entropy of the model's logits and of each modality's."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from cvr_lightning.clip import CompressedClip
from cvr_lightning.models.heads import PerModality


def cross_entropy(
    logits: Tensor, clip: CompressedClip, label_smoothing: float, reduction: Literal["mean", "none"] = "mean"
) -> Tensor:
    """Cross entropy of logits (B, classes), at least float32, against labels or mixed targets."""
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    target = clip.label if clip.target is None else clip.target.to(logits.dtype)
    return F.cross_entropy(logits, target, label_smoothing=label_smoothing, reduction=reduction)


def modality_cross_entropy(logits: PerModality, clip: CompressedClip, label_smoothing: float) -> Tensor:
    """Cross entropies of each modality's own logits, summed; a missing modality counts as zero.

    The mean of both alone leaves the slower modality under-trained (Wang et al., "What Makes Training
    Multi-modal Classification Networks Hard?", CVPR 2020).
    """
    per_clip = [cross_entropy(own, clip, label_smoothing, "none") for own in logits.values.unbind(dim=1)]
    return (torch.stack(per_clip, dim=1) * logits.exists).sum(dim=1).mean()
