"""Small random batches for tests that need no file."""

import numpy as np
import torch

from cvr_lightning.clip import BlockMode, CompressedClip, Sample
from cvr_lightning.codec.arrays import ClipArrays


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
    )


def make_sample(video: int = 0, label: int = 0, **sizes: int) -> Sample:
    return Sample(video, 0, label, f"video_{video}.avi", make_arrays(seed=video, **sizes))


def make_clip(batch: int = 2, **sizes: int) -> CompressedClip:
    from cvr_lightning.clip import collate

    return collate([make_sample(video, video % 5, **sizes) for video in range(batch)])


def select(clip: CompressedClip, rows: list[int]) -> CompressedClip:
    """Some clips of a batch."""
    return clip.map(lambda tensor: tensor[torch.tensor(rows)])
