"""The multi-modal mixer: mixes tokens of a place over time, then over modality and channels.

Our reconstruction of the "Multi-Modal Mixer Block" of arXiv 2503.13724. It operates on the joint tokens after
the transformer, where every segment has an I-token and a P-token at each place.

Shape suffixes: B clips, N segments, L places, D channels, E = 2 D channels of both modalities (I, then P).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class MultiModalMixer(nn.Module):
    """Depthwise convolution over segments, then an MLP over the channels of both modalities.

    It starts as the identity: the output layer is initialized to zero.

    Args:
        width: Channels D of a token.
        kernel: Number of segments of the convolution, odd.
    """

    def __init__(self, width: int, kernel: int = 3) -> None:
        super().__init__()
        both = 2 * width
        self.norm = nn.LayerNorm(width)
        self.time = nn.Conv2d(both, both, (kernel, 1), padding=(kernel // 2, 0), groups=both)
        self.fc1 = nn.Linear(both, both)
        self.fc2 = nn.Linear(both, both)
        nn.init.zeros_(self.fc2.weight)
        nn.init.zeros_(self.fc2.bias)

    def forward(self, tokens_B2NLD: Tensor, exists_B2N: Tensor) -> Tensor:
        """Mix tokens (B, 2, N, L, D); missing tokens do not contribute."""
        kept = self.norm(tokens_B2NLD) * exists_B2N[..., None, None]
        series_BENL = torch.cat(kept.unbind(1), dim=-1).permute(0, 3, 1, 2)
        joint_BNLE = self.time(series_BENL).permute(0, 2, 3, 1)
        mixed_BNLE = self.fc2(F.gelu(self.fc1(joint_BNLE)))
        return tokens_B2NLD + torch.stack(mixed_BNLE.chunk(2, dim=-1), dim=1)
