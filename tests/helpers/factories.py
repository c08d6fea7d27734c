"""Small random batches for tests that need no file, and options of datamodules."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np
import torch

from cvr_lightning.clip import BlockMode, CompressedClip, Sample
from cvr_lightning.codec.arrays import ClipArrays, blocks
from cvr_lightning.datamodules.pipelines import Augmentation
from cvr_lightning.datamodules.sampling import ClipSampling


def make_arrays(
    seed: int = 0, iframes: int = 2, segments: int = 3, pframes: int = 4, side: int = 64, channels: int = 6
) -> ClipArrays:
    """Random fields that keep the contract: skipped blocks are zero, I-frames are used in order."""
    rng = np.random.default_rng(seed)
    grid = (side // 8, side // 8)
    modes = rng.choice([BlockMode.SKIPPED, BlockMode.INTER], size=(segments, pframes, *grid))
    coded = (modes != BlockMode.SKIPPED)[:, :, None]
    return ClipArrays(
        iframes=rng.integers(0, 256, (iframes, 3, side, side), dtype=np.uint8),
        iframe_index=np.sort(rng.integers(0, iframes, segments)),
        motion=(rng.normal(0, 3, (segments, pframes, 2, *grid)) * coded).astype(np.float32),
        residual=(rng.normal(0, 20, (segments, pframes, channels, *grid)) * coded).astype(np.float32),
        modes=modes.astype(np.uint8),
        mask=np.ones((segments, pframes), dtype=bool),
        age=rng.integers(1, 12, (segments, pframes)),
    )


def make_sample(video: int = 0, label: int = 0, **sizes: int) -> Sample:
    return Sample(video, 0, label, f"video_{video}.avi", make_arrays(seed=video, **sizes))


def make_clip(batch: int = 2, **sizes: int) -> CompressedClip:
    from cvr_lightning.clip import collate

    return collate([make_sample(video, video % 5, **sizes) for video in range(batch)])


COEFFICIENTS = (16, 4)
"""Coefficients of luma and of each chroma in :func:`random_clip`."""


def random_clip(
    height: int = 64, width: int = 88, pixel: bool = False, batch: int = 3, seed: int = 0
) -> CompressedClip:
    """Clips of 2 I-frames and 3 segments of 2 P-frames whose fields are all noise, skipped blocks too."""
    generator = torch.Generator().manual_seed(seed)
    grid = (blocks(height), blocks(width))
    planes = (height, width) if pixel else grid
    channels = 3 if pixel else COEFFICIENTS[0] + 2 * COEFFICIENTS[1]
    return CompressedClip(
        iframes=torch.randint(256, (batch, 2, 3, height, width), generator=generator).to(torch.uint8),
        iframe_index=torch.randint(2, (batch, 3), generator=generator),
        motion=torch.randn(batch, 3, 2, 2, *planes, generator=generator),
        residual=torch.randn(batch, 3, 2, channels, *planes, generator=generator),
        modes=torch.randint(4, (batch, 3, 2, *grid), generator=generator).to(torch.uint8),
        mask=torch.ones(batch, 3, 2, dtype=torch.bool),
        age=torch.randint(1, 12, (batch, 3, 2), generator=generator),
        label=torch.arange(batch),
        video=torch.arange(batch),
        view=torch.zeros(batch, dtype=torch.int64),
    ).validate()


def assert_same(left: CompressedClip, right: CompressedClip) -> None:
    """Every tensor of the one equals that of the other, bit by bit."""
    fields = dict(right.tensors())
    assert list(fields) == [name for name, _ in left.tensors()]
    for name, tensor in left.tensors():
        assert torch.equal(tensor, fields[name]), name


def select(clip: CompressedClip, rows: list[int]) -> CompressedClip:
    """Some clips of a batch."""
    return clip.map(lambda tensor: tensor[torch.tensor(rows)])


def data_options(*mappings: Mapping[str, Any], **options: Any) -> dict[str, Any]:
    """Options of a datamodule, those of sampling and augmentation put where they belong."""
    flat = {name: value for mapping in (*mappings, options) for name, value in mapping.items()}
    for section, kind in (("sampling", ClipSampling), ("augmentation", Augmentation)):
        own = {item.name: flat.pop(item.name) for item in fields(kind) if item.name in flat}
        if own:
            flat[section] = kind(**own)
    return flat
