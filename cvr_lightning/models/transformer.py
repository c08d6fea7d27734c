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

    def forward(self, tokens_BLD: Tensor, exists_BL: Tensor, crosses_LL: Tensor | None = None) -> Tensor:
        """Attend to existing tokens; every sequence needs at least one.

        Args:
            tokens_BLD: The tokens.
            exists_BL: bool, false for padding, which is not attended to.
            crosses_LL: bool, true between tokens of different modalities; needed with exchange.
        """
        qkv = self.qkv(tokens_BLD).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        query_BHLD, key_BHLD, value_BHLD = qkv.unbind(0)
        mask = exists_BL[:, None, None, :]
        if self.exchange is not None:
            assert crosses_LL is not None
            bias_HLL = self.exchange.to(query_BHLD.dtype)[:, None, None] * crosses_LL
            mask = bias_HLL.masked_fill(~mask, -torch.inf)
        attended_BHLD = F.scaled_dot_product_attention(query_BHLD, key_BHLD, value_BHLD, attn_mask=mask)
        projected: Tensor = self.out(attended_BHLD.transpose(1, 2).flatten(2))
        return projected


class TransformerBlock(nn.Module):
    """Pre-norm attention and MLP."""

    def __init__(self, width: int, heads: int, mlp_ratio: int, exchange: bool) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = SelfAttention(width, heads, exchange)
        self.norm2 = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, mlp_ratio * width)
        self.fc2 = nn.Linear(mlp_ratio * width, width)

    def forward(self, tokens_BLD: Tensor, exists_BL: Tensor, crosses_LL: Tensor | None = None) -> Tensor:
        """Return tokens of the same shape."""
        tokens_BLD = tokens_BLD + self.attention(self.norm1(tokens_BLD), exists_BL, crosses_LL)
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
        self.exchange = exchange
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
        batch = tokens[0].shape[0]
        parts = [
            torch.cat([cls_D.expand(batch, 1, -1), part_BLD], dim=1)
            for cls_D, part_BLD in zip(self.cls.to(tokens[0].dtype), tokens, strict=True)
        ]
        masks = [F.pad(mask_BL, (1, 0), value=True) for mask_BL in exists]
        if self.exchange:
            lengths = [part_BLD.shape[1] for part_BLD in parts]
            modality_L = torch.arange(sum(lengths), device=parts[0].device) >= lengths[0]
            crosses_LL = modality_L[:, None] != modality_L
            joint_BLD = self._attend(torch.cat(parts, dim=1), torch.cat(masks, dim=1), crosses_LL)
            iframe_BLD, pframe_BLD = torch.split(joint_BLD, lengths, dim=1)
        else:
            iframe_BLD, pframe_BLD = map(self._attend, parts, masks)
        cls_B2D = torch.stack([iframe_BLD[:, 0], pframe_BLD[:, 0]], dim=1)
        return cls_B2D, (iframe_BLD[:, 1:], pframe_BLD[:, 1:])

    def _attend(self, tokens_BLD: Tensor, exists_BL: Tensor, crosses_LL: Tensor | None = None) -> Tensor:
        for block in self.blocks:
            tokens_BLD = block(tokens_BLD, exists_BL, crosses_LL)
        normed: Tensor = self.norm(tokens_BLD)
        return normed


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
