"""From features to class scores: each modality has a head, and their logits are averaged.

Shape suffixes: B clips, S slots, D channels.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn


class PerModality(NamedTuple):
    """Features or logits of the I-frames and of the P-frames.

    Attributes:
        values: (B, 2, channels).
        exists: (B, 2) bool, false if a clip lacks the modality.
    """

    values: Tensor
    exists: Tensor

    def mean(self) -> Tensor:
        """(B, channels), averaged over the modalities that a clip has."""
        return masked_mean(*self)


class ClassHead(nn.Sequential):
    """Logits from the cls token and the mean token of a modality, concatenated."""

    def __init__(self, width: int, num_classes: int, dropout: float) -> None:
        super().__init__(nn.LayerNorm(2 * width), nn.Dropout(dropout), nn.Linear(2 * width, num_classes))


def masked_mean(values_BSD: Tensor, exists_BS: Tensor) -> Tensor:
    """Mean over existing slots; zero if there are none."""
    weights = exists_BS.to(values_BSD.dtype)[..., None]
    return (values_BSD * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1)
