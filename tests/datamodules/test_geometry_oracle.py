"""Fields of a transformed clip rebuild the transformed pixels: a decoder in miniature is the oracle."""

from __future__ import annotations

import math
import random

import pytest
import torch
from helpers.factories import random_clip
from torch import Tensor

from cvr_lightning.clip import CompressedClip
from cvr_lightning.codec.fields.dct import ZIGZAG
from cvr_lightning.datamodules.transforms import crop, flip, resize

EVERY = torch.tensor([True])


def compensate(reference: Tensor, motion: Tensor) -> tuple[Tensor, Tensor]:
    """(H, W) predicted by the (2, H / 8, W / 8) whole-pixel vectors, and where its source is in the frame."""
    height, width = reference.shape
    dx, dy = motion.long().repeat_interleave(8, 1).repeat_interleave(8, 2)
    rows, columns = torch.arange(height)[:, None] + dy, torch.arange(width) + dx
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    return reference[rows.clamp(0, height - 1), columns.clamp(0, width - 1)], inside


def inverse_dct(coefficients: Tensor) -> Tensor:
    """(64, H / 8, W / 8) in zigzag order -> (H, W), from the definition."""
    frequency, sample = torch.arange(8.0)[:, None], torch.arange(8.0)
    basis = torch.cos((2 * sample + 1) * frequency * math.pi / 16) / 2
    basis[0] /= math.sqrt(2)
    spectrum = torch.empty(*coefficients.shape[1:], 8, 8)
    for place, (v, h) in enumerate(ZIGZAG.tolist()):
        spectrum[..., v, h] = coefficients[place]
    return (basis.T @ spectrum @ basis).transpose(1, 2).flatten(2, 3).flatten(0, 1)


def moving_clip(height: int, width: int, seed: int) -> tuple[CompressedClip, Tensor]:
    """A clip of one P-frame, whole-pixel vectors and all luma coefficients, and that P-frame's pixels."""
    generator = torch.Generator().manual_seed(seed)
    clip = random_clip(height, width, batch=1, seed=seed)
    grid = clip.modes.shape[-2:]
    clip = clip.with_tensors(
        iframe_index=torch.zeros(1, 1, dtype=torch.int64),
        motion=torch.randint(-6, 7, (1, 1, 1, 2, *grid), generator=generator).float(),
        residual=torch.randn(1, 1, 1, 66, *grid, generator=generator),
        modes=clip.modes[:, :1, :1],
        mask=clip.mask[:, :1, :1],
        age=clip.age[:, :1, :1],
    ).validate()
    predicted, _ = compensate(clip.iframes[0, 0, 1].float(), clip.motion[0, 0, 0])
    return clip, predicted + inverse_dct(clip.residual[0, 0, 0, :64])


def assert_rebuilds(clip: CompressedClip, pixels: Tensor) -> None:
    predicted, inside = compensate(clip.iframes[0, 0, 1].float(), clip.motion[0, 0, 0])
    rebuilt = predicted + inverse_dct(clip.residual[0, 0, 0, :64])
    assert inside.float().mean() > 0.5
    torch.testing.assert_close(rebuilt[inside], pixels[inside], atol=1e-3, rtol=0)


@pytest.mark.parametrize("seed", range(12))
def test_random_crops_and_flips_rebuild_the_cropped_and_flipped_pixels(seed):
    draw = random.Random(seed)
    height, width = 8 * draw.randint(6, 12), 8 * draw.randint(6, 12)
    clip, pixels = moving_clip(height, width, seed)
    assert_rebuilds(clip, pixels)
    for _ in range(4):
        if draw.random() < 0.5:
            clip, pixels = flip(clip, EVERY, (64, 1)), pixels.flip(-1)
        else:
            height, width = pixels.shape
            size = 8 * draw.randint(max(4, min(height, width) // 8 - 2), min(height, width) // 8)
            top, left = 8 * draw.randint(0, (height - size) // 8), 8 * draw.randint(0, (width - size) // 8)
            clip = crop(clip, torch.tensor([top]), torch.tensor([left]), size)
            pixels = pixels[top : top + size, left : left + size]
        assert_rebuilds(clip, pixels)


@pytest.mark.parametrize("factors", [(2, 2), (3, 1), (2, 5)])
def test_vectors_of_a_frame_enlarged_by_whole_factors_predict_the_enlarged_frame(factors):
    clip, _ = moving_clip(48, 64, seed=1)

    def enlarge(pixels: Tensor) -> Tensor:
        return pixels.repeat_interleave(factors[0], -2).repeat_interleave(factors[1], -1)

    reference = clip.iframes[0, 0, 1]
    small, inside = compensate(reference, clip.motion[0, 0, 0])
    out = resize(clip, (48 * factors[0], 64 * factors[1]))
    large, _ = compensate(enlarge(reference), out.motion[0, 0, 0])
    assert torch.equal(large[enlarge(inside)], enlarge(small)[enlarge(inside)])


@pytest.mark.parametrize("seed", range(12))
def test_vectors_of_a_zooming_scene_follow_any_resize_within_half_a_block(seed):
    draw = random.Random(seed)
    old = (8 * draw.randint(6, 16), 8 * draw.randint(6, 16))
    new = (8 * draw.randint(4, 20), 8 * draw.randint(4, 20))
    zoom = draw.uniform(0.02, 0.1)

    def field(size: tuple[int, int], scene: tuple[int, int]) -> Tensor:
        """Vectors of a scene of ``scene`` pixels that grows about its middle, drawn at ``size`` pixels."""
        ys, xs = (torch.arange(4.0, length, 8) - length / 2 for length in size)
        return -zoom * torch.stack(torch.broadcast_tensors(xs[None], ys[:, None]))

    clip, _ = moving_clip(*old, seed)
    clip.motion[0, 0, 0] = field(old, old)
    out = resize(clip, new).validate()
    # A vector stands for the center of its block, which lies at most half an old block from the new center.
    reach = zoom * 4 * torch.tensor([max(1, new[1] / old[1]), max(1, new[0] / old[0])]).view(2, 1, 1)
    assert ((out.motion[0, 0, 0] - field(new, new)).abs() <= reach + 1e-4).all()


@pytest.mark.parametrize("seed", range(12))
def test_any_resize_takes_whole_blocks_from_where_the_new_center_falls(seed):
    draw = random.Random(seed)
    old = (draw.randint(40, 120), draw.randint(40, 120))
    new = (draw.randint(24, 160), draw.randint(24, 160))
    clip = random_clip(*old, batch=1, seed=seed)
    out = resize(clip, new).validate()
    rows, columns = (
        [min(int((8 * i + 4) * a / b) // 8, math.ceil(a / 8) - 1) for i in range(math.ceil(b / 8))]
        for a, b in zip(old, new, strict=True)
    )
    for y, source_y in enumerate(rows):
        for x, source_x in enumerate(columns):
            assert torch.equal(out.residual[..., y, x], clip.residual[..., source_y, source_x])
            assert torch.equal(out.modes[..., y, x], clip.modes[..., source_y, source_x])
