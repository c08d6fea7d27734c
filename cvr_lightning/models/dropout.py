"""Dropout that is the same for a clip in whatever batch or process it is.

Shape suffixes: B clips, D features.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

BITS = 53
_GOLDEN = 0x9E3779B97F4A7C15 - 2**64
_FACTORS = (0xBF58476D1CE4E5B9 - 2**64, 0x94D049BB133111EB - 2**64)
"""Constants of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014) as signed numbers."""


class ClipDropout(nn.Dropout):
    """Drops features of each clip by its key, alike on every device; by the global generator without one."""

    def forward(self, features_BD: Tensor, key_B: Tensor | None = None) -> Tensor:
        """Drop a share ``p`` of the features in training, and scale up the rest.

        Args:
            features_BD: The features.
            key_B: int64, what each clip's share is drawn from.
        """
        if key_B is None or not self.training:
            return super().forward(features_BD)
        kept_BD = random_bits(key_B, features_BD.shape[1]) >= math.ceil(self.p * 2**BITS)
        kept: Tensor = features_BD * (kept_BD / (1 - self.p)).to(features_BD.dtype)
        return kept


def random_bits(key_B: Tensor, count: int) -> Tensor:
    """(B, count) int64 of 53 random bits each, a pure function of the keys.

    Not their quotient, a float64 in [0, 1): not every device has such.
    """
    place = torch.arange(1, count + 1, device=key_B.device) * _GOLDEN
    bits = _mix(_mix(key_B)[:, None] + place)
    return _shift(bits, 64 - BITS)


def _mix(bits: Tensor) -> Tensor:
    """SplitMix64's finaliser; multiplication of int64 wraps."""
    first, second = _FACTORS
    bits = (bits ^ _shift(bits, 30)) * first
    bits = (bits ^ _shift(bits, 27)) * second
    return bits ^ _shift(bits, 31)


def _shift(bits: Tensor, by: int) -> Tensor:
    """Shift right, filling with zeros."""
    shifted: Tensor = (bits >> by) & (2 ** (64 - by) - 1)
    return shifted
