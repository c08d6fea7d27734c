"""Indexing between segments and their I-frames.

Shape suffixes: B clips, K I-frames, N segments, L places, C and D channels.
"""

from __future__ import annotations

import torch
from torch import Tensor


def uses(iframe_index_BN: Tensor, iframes: int) -> Tensor:
    """(B, K, N) bool mask: segment n uses I-frame k."""
    return torch.arange(iframes, device=iframe_index_BN.device)[:, None] == iframe_index_BN[:, None]


def joint_exists(exists_BN: Tensor) -> Tensor:
    """(B, 2, N) bool mask of existing I- and P-tokens; every segment has an I-frame."""
    return torch.stack([torch.ones_like(exists_BN), exists_BN], dim=1)


def of_segments(features_BK: Tensor, iframe_index_BN: Tensor) -> Tensor:
    """Gather features (B, N, ...) of each segment's I-frame from (B, K, ...)."""
    clips = torch.arange(features_BK.shape[0], device=iframe_index_BN.device)
    return features_BK[clips[:, None], iframe_index_BN]


def mean_over_segments(values_BND: Tensor, weights_BKN: Tensor) -> Tensor:
    """Weighted mean over the segments of each I-frame, (B, K, D); zero for unused I-frames."""
    return weights_BKN @ values_BND / weights_BKN.sum(dim=2, keepdim=True).clamp(min=1)


def modulate(iframe_BKLC: Tensor, modulation_BNLC: Tensor, uses_BKN: Tensor) -> Tensor:
    """Gate and shift each I-frame by the mean over the segments that use it.

    Args:
        iframe_BKLC: Features of the I-frames.
        modulation_BNLC: Gates and shifts of the segments, side by side in 2 C channels.
        uses_BKN: Which segments use each I-frame.
    """
    mean_BKC = mean_over_segments(modulation_BNLC.flatten(2), uses_BKN.to(modulation_BNLC.dtype))
    gate_BKLC, shift_BKLC = mean_BKC.view(*iframe_BKLC.shape[:3], -1).chunk(2, dim=-1)
    return iframe_BKLC * (1 + gate_BKLC) + shift_BKLC
