"""The unified transformer: global self-attention over I- and P-tokens.

Our reconstruction of a component that arXiv 2503.13724 names: one attention for both modalities. Embeddings
of place, time and modality are added to the tokens.

Shape suffixes: B clips, L tokens, D channels, H heads.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class SelfAttention(nn.Module):
    """Multi-head self-attention with a mask of existing tokens."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"width {width} is not a multiple of the number of heads {heads}")
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, tokens_BLD: Tensor, exists_BL: Tensor) -> Tensor:
        """Attend to existing tokens; every clip needs at least one."""
        qkv = self.qkv(tokens_BLD).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        query_BHLD, key_BHLD, value_BHLD = qkv.unbind(0)
        attended_BHLD = F.scaled_dot_product_attention(
            query_BHLD, key_BHLD, value_BHLD, attn_mask=exists_BL[:, None, None, :]
        )
        projected: Tensor = self.out(attended_BHLD.transpose(1, 2).flatten(2))
        return projected


class TransformerBlock(nn.Module):
    """Pre-norm attention and MLP."""

    def __init__(self, width: int, heads: int, mlp_ratio: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = SelfAttention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, mlp_ratio * width)
        self.fc2 = nn.Linear(mlp_ratio * width, width)

    def forward(self, tokens_BLD: Tensor, exists_BL: Tensor) -> Tensor:
        """Return tokens of the same shape."""
        tokens_BLD = tokens_BLD + self.attention(self.norm1(tokens_BLD), exists_BL)
        mixed: Tensor = self.fc2(F.gelu(self.fc1(self.norm2(tokens_BLD))))
        return tokens_BLD + mixed


class UnifiedTransformer(nn.Module):
    """Blocks of global self-attention over [cls, I-tokens, P-tokens].

    Args:
        width: Channels D of a token.
        depth: Number of blocks.
        heads: Attention heads per block.
        mlp_ratio: Ratio of the MLP's width to D.
    """

    def __init__(self, width: int, depth: int, heads: int, mlp_ratio: int) -> None:
        super().__init__()
        self.cls = nn.Parameter(torch.zeros(width))
        self.blocks = nn.ModuleList(TransformerBlock(width, heads, mlp_ratio) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        nn.init.trunc_normal_(self.cls, std=0.02)

    def forward(self, tokens_BLD: Tensor, exists_BL: Tensor) -> tuple[Tensor, Tensor]:
        """Attend over all tokens of a clip.

        Args:
            tokens_BLD: I- and P-tokens with added embeddings.
            exists_BL: bool, false for padding, which is not attended to.

        Returns:
            The cls token (B, D) and the tokens (B, L, D).
        """
        batch = tokens_BLD.shape[0]
        tokens_BLD = torch.cat([self.cls.to(tokens_BLD.dtype).expand(batch, 1, -1), tokens_BLD], dim=1)
        exists_BL = F.pad(exists_BL, (1, 0), value=True)
        for block in self.blocks:
            tokens_BLD = block(tokens_BLD, exists_BL)
        tokens_BLD = self.norm(tokens_BLD)
        return tokens_BLD[:, 0], tokens_BLD[:, 1:]


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
