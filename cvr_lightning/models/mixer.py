"""The multi-modal mixer: mixes I- and P-tokens of a place over modality and time, then over channels.

Our reconstruction of the "Multi-Modal Mixer Block" of arXiv 2503.13724. It operates on the joint tokens after
the transformer, where every segment has an I-token and a P-token at each place.

Shape suffixes: B clips, N segments, L places, D channels, E = 2 D channels of both modalities (I, then P).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class ModalityConv(nn.Conv1d):
    """A grouped convolution over segments with one group per channel, both modalities in and out.

    Each group's four products run as depthwise convolutions, which have faster kernels than groups of two
    channels.

    Args:
        width: Channels D of a token.
        kernel: Number of segments in the kernel, odd.
    """

    def __init__(self, width: int, kernel: int) -> None:
        super().__init__(2 * width, 2 * width, kernel, padding=kernel // 2, groups=width)

    def forward(self, series_BLEN: Tensor) -> Tensor:
        """Convolve series (B, L, E, N), with the I-channels before the P-channels."""
        assert self.bias is not None
        width, span = self.groups, self.kernel_size[0]
        # Weight and bias by channel, output (, input): (D 2, 2, span) and (D 2).
        taps = self.weight.view(width, 2, 2, span).permute(1, 2, 0, 3).reshape(4 * width, 1, span, 1)
        bias_E = self.bias.view(width, 2).t().flatten()
        series_BENL = series_BLEN.permute(0, 2, 3, 1)
        products = F.conv2d(
            torch.cat([series_BENL, series_BENL], dim=1), taps, padding=(span // 2, 0), groups=4 * width
        )
        i_to_i, p_to_i, i_to_p, p_to_p = products.chunk(4, dim=1)
        mixed_BENL = torch.cat([i_to_i + p_to_i, i_to_p + p_to_p], dim=1)
        return mixed_BENL.permute(0, 3, 1, 2) + bias_E[:, None]


class MultiModalMixer(nn.Module):
    """Gated token mixing over modality and time, then channel mixing, for any number of segments.

    Args:
        width: Channels D of a token.
        kernel: Number of segments that one mixing step covers.
    """

    def __init__(self, width: int, kernel: int = 3) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.mix = ModalityConv(width, kernel)
        self.gate = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, 2 * width)
        self.fc2 = nn.Linear(2 * width, width)

    def forward(self, tokens_B2NLD: Tensor, exists_B2N: Tensor) -> Tensor:
        """Mix tokens (B, 2, N, L, D); missing tokens do not contribute."""
        normed = self.norm1(tokens_B2NLD)
        kept = normed * exists_B2N[..., None, None]
        series_BLEN = torch.cat(kept.unbind(1), dim=-1).permute(0, 2, 3, 1)
        mixed_B2NLD = torch.stack(self.mix(series_BLEN).permute(0, 3, 1, 2).chunk(2, dim=-1), dim=1)
        tokens_B2NLD = tokens_B2NLD + F.sigmoid(self.gate(normed)) * mixed_B2NLD
        channels: Tensor = self.fc2(F.gelu(self.fc1(self.norm2(tokens_B2NLD))))
        return tokens_B2NLD + channels
