"""Late fusion: the baseline for the unified transformer and the mixer.

Shape suffixes: B clips, L tokens, D token channels.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cvr_lightning.models.transformer import UnifiedTransformer


class ClassHead(nn.Sequential):
    """Class scores from the concatenated cls token and mean token, D channels each."""

    def __init__(self, width: int, num_classes: int, dropout: float) -> None:
        super().__init__(nn.LayerNorm(2 * width), nn.Dropout(dropout), nn.Linear(2 * width, num_classes))


class LateFusion(nn.Module):
    """One transformer and head per modality; their class scores are averaged.

    This is the approach of earlier compressed-domain methods (CoViAR and its followers).

    Args:
        width: Channels D of a token.
        depth: Blocks of each transformer.
        heads: Attention heads of a block.
        mlp_ratio: Ratio of an MLP's width to ``width``.
        num_classes: Number of classes.
        dropout: Fraction of the features dropped before each head.
    """

    def __init__(
        self, width: int, depth: int, heads: int, mlp_ratio: int, num_classes: int, dropout: float
    ) -> None:
        super().__init__()
        self.transformers = nn.ModuleList(
            UnifiedTransformer(width, depth, heads, mlp_ratio) for _ in range(2)
        )
        self.heads = nn.ModuleList(ClassHead(width, num_classes, dropout) for _ in range(2))

    def forward(self, tokens: tuple[Tensor, Tensor], exists: tuple[Tensor, Tensor]) -> Tensor:
        """Return class scores (B, classes), averaged over the modalities that a clip has.

        Args:
            tokens: I- and P-tokens, (B, L, D) each.
            exists: Masks of existing tokens, (B, L) bool each.
        """
        scores, present = [], []
        for transformer, head, tokens_BLD, exists_BL in zip(
            self.transformers, self.heads, tokens, exists, strict=True
        ):
            cls_BD, tokens_BLD = transformer(tokens_BLD, exists_BL)
            pooled_BD = masked_mean(tokens_BLD, exists_BL)
            scores.append(head(torch.cat([cls_BD, pooled_BD], dim=-1)))
            present.append(exists_BL.any(dim=1))
        return masked_mean(torch.stack(scores, dim=1), torch.stack(present, dim=1))


def masked_mean(values_BSD: Tensor, exists_BS: Tensor) -> Tensor:
    """Mean over existing slots; zero if there are none."""
    weights = exists_BS.to(values_BSD.dtype)[..., None]
    return (values_BSD * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1)
