"""Logits of clips to scores of videos."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from cvr_lightning.clip import CompressedClip
from cvr_lightning.errors import CheckpointError
from cvr_lightning.evaluation.video_table import Averaging
from cvr_lightning.models import CompressedVideoRecognizer


class Scores(NamedTuple):
    """Scores of a video, averaged over its views.

    Attributes:
        probabilities: (classes,) probability of each class.
        embedding: (D,) features before the head; None if not requested.
    """

    probabilities: Tensor
    embedding: Tensor | None


def average(logits: Tensor, features: Tensor, sizes: Sequence[int], averaging: Averaging) -> list[Scores]:
    """Average over the views of each video.

    Args:
        logits: (clips, classes), the views of a video side by side.
        features: (clips, D), with D = 0 if there are none.
        sizes: Number of views of each video.
        averaging: What is averaged.
    """
    found = []
    for own, features_of in zip(
        torch.split(logits, list(sizes)), torch.split(features, list(sizes)), strict=True
    ):
        mean = own.softmax(-1).mean(0) if averaging == "softmax" else own.mean(0).softmax(-1)
        found.append(Scores(mean, features_of.mean(0) if features.shape[1] else None))
    return found


def features_and_logits(recognizer: nn.Module, clip: CompressedClip) -> tuple[Tensor, Tensor]:
    """Features (B, D) of a batch, and the head's logits (B, classes).

    Raises:
        CheckpointError: The model has neither ``forward_features`` nor a ``head``.
    """
    if isinstance(recognizer, CompressedVideoRecognizer):
        own = recognizer.modality_features(clip)
        return own.values.flatten(1), recognizer.classify(own).mean()
    model: Any = recognizer
    try:
        features = model.forward_features(clip)
    except (AttributeError, ValueError) as error:
        raise CheckpointError(f"this model has no embeddings: {error}; leave them out") from error
    return features, model.head(features)
