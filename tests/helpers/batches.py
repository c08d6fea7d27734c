"""Batches of datamodules, and comparing them."""

from __future__ import annotations

import torch

from cvr_lightning.clip import CompressedClip
from cvr_lightning.datamodules import CompressedVideoDataModule


def epoch(data: CompressedVideoDataModule, subset: str = "train", number: int = 0) -> list[CompressedClip]:
    """The batches of an epoch of a subset."""
    loader = getattr(data, f"{subset}_dataloader")()
    loader.sampler.set_epoch(number)
    return list(loader)


def same(left: list[CompressedClip], right: list[CompressedClip]) -> bool:
    """Whether all tensors of two lists of batches are equal."""
    pairs = list(zip(left, right, strict=True))
    return all(torch.equal(value, getattr(b, name)) for a, b in pairs for name, value in a.tensors())
