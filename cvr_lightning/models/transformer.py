"""The unified transformer: self-attention with the same weights over I- and P-tokens.

Our reconstruction of a component that arXiv 2503.13724 names. Embeddings of place, time and modality are
added to the tokens. By default tokens attend to those of their modality. With ``exchange`` they attend to
all, and a learned bias scales the attention between modalities; it starts low.

Shape suffixes: B clips, L tokens, D channels, H heads.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

EXCHANGE = -3.0
"""Initial bias between tokens of different modalities: exp(-3), a twentieth of the weight within one."""


class SelfAttention(nn.Module):
    """Multi-head self-attention over tokens of two modalities, with a mask of existing tokens.

    Args:
        width: Channels D of a token.
        heads: Number of heads H.
        exchange: Whether tokens attend to the other modality.

    Attributes:
        exchange: (H,) bias added to the attention logits between modalities; None without exchange.
    """

    def __init__(self, width: int, heads: int, exchange: bool) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"width {width} is not a multiple of the number of heads {heads}")
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.exchange = nn.Parameter(torch.full((heads,), EXCHANGE)) if exchange else None

    def forward(self, tokens_BLD: Tensor, exists_BL: Tensor, modality_L: Tensor) -> Tensor:
        """Attend to existing tokens; every clip needs at least one of each modality.

        Args:
            tokens_BLD: The tokens.
            exists_BL: bool, false for padding, which is not attended to.
            modality_L: Index of each token's modality.
        """
        qkv = self.qkv(tokens_BLD).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        query_BHLD, key_BHLD, value_BHLD = qkv.unbind(0)
        mask = self._mask(exists_BL[:, None, None, :], modality_L[:, None] != modality_L, query_BHLD.dtype)
        attended_BHLD = F.scaled_dot_product_attention(query_BHLD, key_BHLD, value_BHLD, attn_mask=mask)
        projected: Tensor = self.out(attended_BHLD.transpose(1, 2).flatten(2))
        return projected

    def _mask(self, exists_B11L: Tensor, crosses_LL: Tensor, dtype: torch.dtype) -> Tensor:
        """Bias of the attention logits (B, H, L, L), or without exchange a bool mask (B, 1, L, L)."""
        if self.exchange is None:
            return exists_B11L & ~crosses_LL
        bias_HLL = self.exchange.to(dtype)[:, None, None] * crosses_LL
        return bias_HLL.masked_fill(~exists_B11L, -torch.inf)


class TransformerBlock(nn.Module):
    """Pre-norm attention and MLP."""

    def __init__(self, width: int, heads: int, mlp_ratio: int, exchange: bool) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = SelfAttention(width, heads, exchange)
        self.norm2 = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, mlp_ratio * width)
        self.fc2 = nn.Linear(mlp_ratio * width, width)

    def forward(self, tokens_BLD: Tensor, exists_BL: Tensor, modality_L: Tensor) -> Tensor:
        """Return tokens of the same shape."""
        tokens_BLD = tokens_BLD + self.attention(self.norm1(tokens_BLD), exists_BL, modality_L)
        mixed: Tensor = self.fc2(F.gelu(self.fc1(self.norm2(tokens_BLD))))
        return tokens_BLD + mixed


class UnifiedTransformer(nn.Module):
    """Blocks of self-attention over [cls, I-tokens, cls, P-tokens].

    Args:
        width: Channels D of a token.
        depth: Number of blocks.
        heads: Attention heads per block.
        mlp_ratio: Ratio of the MLP's width to D.
        exchange: Whether tokens attend to the other modality. Without, the modalities meet in the dual
            encoder and in the mean of their heads.
    """

    def __init__(self, width: int, depth: int, heads: int, mlp_ratio: int, exchange: bool = False) -> None:
        super().__init__()
        self.cls = nn.Parameter(torch.zeros(2, width))
        self.blocks = nn.ModuleList(TransformerBlock(width, heads, mlp_ratio, exchange) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        nn.init.trunc_normal_(self.cls, std=0.02)

    def forward(
        self, tokens: tuple[Tensor, Tensor], exists: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Attend over all tokens of a clip.

        Args:
            tokens: I- and P-tokens with added embeddings, (B, L, D) each.
            exists: Their masks, (B, L) bool each, false for padding, which is not attended to.

        Returns:
            The cls tokens of both modalities (B, 2, D), and the I- and P-tokens.
        """
        batch, lengths = tokens[0].shape[0], [1 + part_BLD.shape[1] for part_BLD in tokens]
        parts = []
        for cls_D, part_BLD in zip(self.cls.to(tokens[0].dtype), tokens, strict=True):
            parts += [cls_D.expand(batch, 1, -1), part_BLD]
        tokens_BLD = torch.cat(parts, dim=1)
        exists_BL = torch.cat([F.pad(mask_BL, (1, 0), value=True) for mask_BL in exists], dim=1)
        modality_L = torch.arange(sum(lengths), device=tokens_BLD.device) >= lengths[0]
        for block in self.blocks:
            tokens_BLD = block(tokens_BLD, exists_BL, modality_L)
        iframe_BLD, pframe_BLD = self.norm(tokens_BLD).split(lengths, dim=1)
        cls_B2D = torch.stack([iframe_BLD[:, 0], pframe_BLD[:, 0]], dim=1)
        return cls_B2D, (iframe_BLD[:, 1:], pframe_BLD[:, 1:])


def sinusoidal(positions: Tensor, width: int) -> Tensor:
    """Sine and cosine embedding of real positions (Vaswani et al., 2017).

    Args:
        positions: Any shape, in steps of the finest wavelength.
        width: Even number of channels.

    Returns:
        ``positions.shape + (width,)`` float32.
    """
    half = width // 2
    frequencies = torch.exp(torch.arange(half, device=positions.device) * (-math.log(1e4) / half))
    angles = positions.float()[..., None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], dim=-1)


def grid_embedding(height: int, width: int, channels: int, device: torch.device) -> Tensor:
    """Embedding (height * width, channels) of grid places: half for the row, half for the column."""
    rows = sinusoidal(torch.arange(height, device=device), channels // 2)
    columns = sinusoidal(torch.arange(width, device=device), channels // 2)
    grid = [rows[:, None].expand(-1, width, -1), columns[None].expand(height, -1, -1)]
    return torch.cat(grid, dim=-1).flatten(0, 1)
