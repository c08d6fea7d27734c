"""Geometry is exact: transformed fields are the fields of the transformed pixels."""

from __future__ import annotations

import math

import pytest
import torch
from helpers.factories import COEFFICIENTS, assert_same, random_clip
from torch import Tensor

from cvr_lightning.codec.fields.dct import ZIGZAG
from cvr_lightning.datamodules.transforms import (
    adjust_colors,
    crop,
    flip,
    resize,
    spread_crops,
    spread_mirrored,
)


def block_dct(plane: Tensor) -> Tensor:
    """(H, W) -> (64, H / 8, W / 8) orthonormal coefficients in zigzag order, from the definition."""
    frequency, sample = torch.arange(8.0)[:, None], torch.arange(8.0)
    basis = torch.cos((2 * sample + 1) * frequency * math.pi / 16) / 2
    basis[0] /= math.sqrt(2)
    tiles = plane.unfold(0, 8, 8).unfold(1, 8, 8)
    spectrum = basis @ tiles @ basis.T
    return torch.stack([spectrum[..., v, h] for v, h in ZIGZAG.tolist()])


@pytest.mark.parametrize("pixel", [False, True])
def test_crop_slices_every_field(pixel):
    clip = random_clip(pixel=pixel)
    out = crop(clip, torch.tensor([0, 8, 16]), torch.tensor([24, 0, 40]), 48).validate()
    scale = 1 if pixel else 8
    for i, (top, left) in enumerate([(0, 24), (8, 0), (16, 40)]):
        assert torch.equal(out.iframes[i], clip.iframes[i, ..., top : top + 48, left : left + 48])
        assert torch.equal(
            out.modes[i], clip.modes[i, ..., top // 8 : top // 8 + 6, left // 8 : left // 8 + 6]
        )
        for name in ("motion", "residual"):
            before, after = getattr(clip, name)[i], getattr(out, name)[i]
            rows = slice(top // scale, (top + 48) // scale)
            assert torch.equal(after, before[..., rows, left // scale : (left + 48) // scale])


@pytest.mark.parametrize(("top", "left", "size"), [(4, 0, 48), (0, 0, 44), (24, 0, 48), (-8, 0, 48)])
def test_crop_off_the_grid_or_the_frame_is_refused(top, left, size):
    with pytest.raises(ValueError, match=f"crop of {size}"):
        crop(random_clip(), torch.tensor([top, 0, 0]), torch.tensor([left, 0, 0]), size)


def test_flipped_coefficients_are_those_of_the_flipped_pixels():
    pixels = torch.randn(3, 64, 88, generator=torch.Generator().manual_seed(1))
    luma, chroma = COEFFICIENTS
    kept = (luma, chroma, chroma)

    def coefficients(planes: Tensor) -> Tensor:
        return torch.cat([block_dct(plane)[:count] for plane, count in zip(planes, kept, strict=True)])

    clip = random_clip()
    clip.residual[:] = coefficients(pixels)
    out = flip(clip, torch.tensor([True, True, True]), COEFFICIENTS)
    expected = coefficients(pixels.flip(-1)).expand_as(out.residual)
    torch.testing.assert_close(out.residual, expected, atol=1e-5, rtol=0)


def test_flipped_vectors_point_to_the_mirrored_reference():
    clip = random_clip()
    out = flip(clip, torch.tensor([True, True, True]), COEFFICIENTS)
    columns = torch.arange(11.0) * 8 + 3.5
    target = columns + clip.motion[:, :, :, 0]  # where each block's center comes from
    assert torch.allclose((columns + out.motion[:, :, :, 0]).flip(-1), 87 - target, atol=1e-4)
    assert torch.equal(out.motion[:, :, :, 1], clip.motion[:, :, :, 1].flip(-1))
    assert torch.equal(out.modes, clip.modes.flip(-1))


def test_flip_in_pixels_mirrors_the_residual_image():
    clip = random_clip(pixel=True)
    out = flip(clip, torch.tensor([True] * 3), COEFFICIENTS).validate()
    assert torch.equal(out.residual, clip.residual.flip(-1))
    assert torch.equal(out.motion[:, :, :, 0], -clip.motion[:, :, :, 0].flip(-1))


@pytest.mark.parametrize("pixel", [False, True])
def test_flip_touches_only_the_chosen_clips_and_twice_is_nothing(pixel):
    clip, which = random_clip(pixel=pixel), torch.tensor([True, False, True])
    once = flip(clip, which, COEFFICIENTS)
    assert torch.equal(once.iframes[1], clip.iframes[1])
    assert not torch.equal(once.iframes[0], clip.iframes[0])
    assert_same(flip(once, which, COEFFICIENTS), clip)


def test_flip_refuses_split_blocks_and_wrong_channels():
    every = torch.tensor([True] * 3)
    with pytest.raises(ValueError, match="width of 84"):
        flip(random_clip(width=84), every, COEFFICIENTS)
    with pytest.raises(ValueError, match=r"24 channels, but coefficients=\(64, 64\)"):
        flip(random_clip(), every, (64, 64))


@pytest.mark.parametrize("pixel", [False, True])
def test_resize_to_the_same_size_is_nothing(pixel):
    clip = random_clip(60, 84, pixel=pixel)
    assert_same(resize(clip, (60, 84)), clip)


def test_resize_by_two_repeats_blocks_and_doubles_vectors():
    clip = random_clip(32, 48)
    out = resize(clip, (64, 144)).validate()

    def grown(field: Tensor) -> Tensor:
        return field.repeat_interleave(2, -2).repeat_interleave(3, -1)

    assert torch.equal(out.residual, grown(clip.residual))
    assert torch.equal(out.modes, grown(clip.modes))
    scaled = clip.motion * torch.tensor([3.0, 2.0]).view(2, 1, 1)
    assert torch.equal(out.motion, grown(scaled))
    assert out.iframes.dtype == torch.uint8


def test_color_leaves_all_but_the_iframes_and_unit_factors_change_nothing():
    clip, one = random_clip(), torch.ones(3)
    out = adjust_colors(clip, one, one, one)
    torch.testing.assert_close(out.iframes, clip.iframes.float(), atol=1e-3, rtol=0)
    darker = adjust_colors(clip, torch.tensor([0.5, 1.0, 1.0]), one, one)
    torch.testing.assert_close(darker.iframes[0], clip.iframes[0].float() / 2, atol=1e-3, rtol=0)
    torch.testing.assert_close(darker.iframes[1], out.iframes[1])
    gray = adjust_colors(clip, one, one, torch.zeros(3)).iframes
    assert torch.allclose(gray[:, :, 0], gray[:, :, 2], atol=1e-3)
    assert torch.equal(darker.motion, clip.motion)


def test_spread_crops_cut_the_same_squares_out_of_every_clip():
    clip = random_clip()
    clip.view[:] = torch.tensor([0, 1, 2])
    corners = [(0, 0), (16, 8), (8, 40)]
    out = spread_crops(clip, corners, 48).validate()
    assert out.video.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert out.view.tolist() == list(range(9))
    for row, (top, left) in enumerate(corners):
        single = crop(clip, torch.full((3,), top), torch.full((3,), left), 48)
        every = out.take(torch.tensor([row, 3 + row, 6 + row]))
        assert_same(every.with_tensors(view=single.view), single)
    with pytest.raises(ValueError, match="crop of 48"):
        spread_crops(clip, [(0, 0), (0, 44)], 48)


def test_spread_mirrored_puts_each_image_beside_its_clip():
    clip = random_clip()
    out = spread_mirrored(clip, COEFFICIENTS).validate()
    assert out.video.tolist() == [0, 0, 1, 1, 2, 2]
    assert out.view.tolist() == [0, 1] * 3
    assert_same(out.take(torch.tensor([0, 2, 4])), clip)
    mirrored = flip(clip, torch.ones(3, dtype=torch.bool), COEFFICIENTS)
    assert_same(out.take(torch.tensor([1, 3, 5])).with_tensors(view=clip.view), mirrored)
