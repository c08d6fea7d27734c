"""The multi-modal mixer: I and P of the same place, mixed over modality and time, then over channels.

Our reconstruction of the "Multi-Modal Mixer Block" of arXiv 2503.13724. It works on the joint spatiotemporal
tokens after the transformer, where every segment has an I-token and a P-token at each place.

Shape suffixes: B clips, N segments, L places, D channels; the 2 modalities are I, P in this order.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


class MultiModalMixer(nn.Module):
    """Gated token mixing across modality and time, then channel mixing; for any number of segments.

    Args:
        width: Channels D of a token.
        kernel: Segments that one step of mixing spans.
    """

    def __init__(self, width: int, kernel: int = 3) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        # One group a channel: 2 modalities x `kernel` segments in, 2 modalities out.
        self.mix = nn.Conv1d(2 * width, 2 * width, kernel, padding=kernel // 2, groups=width)
        self.gate = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, 2 * width)
        self.fc2 = nn.Linear(2 * width, width)

    def forward(self, tokens_B2NLD: Tensor, exists_B2N: Tensor) -> Tensor:
        """Mix tokens (B, 2, N, L, D); those that do not exist give nothing to the others."""
        batch, _, segments, places, width = tokens_B2NLD.shape
        normed = self.norm1(tokens_B2NLD)
        kept = normed * exists_B2N[..., None, None]
        # (B, 2, N, L, D) -> (B L, D 2, N): the two modalities of a channel stand side by side.
        series = kept.permute(0, 3, 4, 1, 2).reshape(batch * places, width * 2, segments)
        mixed = self.mix(series).view(batch, places, width, 2, segments).permute(0, 3, 4, 1, 2)
        tokens_B2NLD = tokens_B2NLD + F.sigmoid(self.gate(normed)) * mixed
        channels: Tensor = self.fc2(F.gelu(self.fc1(self.norm2(tokens_B2NLD))))
        return tokens_B2NLD + channels
