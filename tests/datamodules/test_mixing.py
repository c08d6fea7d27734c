"""Mixed clips are made of the two clips they come from, and say in which ratios."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from helpers.factories import COEFFICIENTS, assert_same, random_clip

from cvr_lightning.clip import BlockMode, CompressedClip
from cvr_lightning.codec.arrays import MODALITIES
from cvr_lightning.datamodules.clips import read_clip
from cvr_lightning.datamodules.mixing import cutmix, drop_modality, mixup
from cvr_lightning.datamodules.pipelines import Augmentation, TrainTransform
from cvr_lightning.datamodules.sampling import ClipSampling, clip_generators

CLASSES = 5


def in_force(clip: CompressedClip) -> torch.Tensor:
    """(B, N, 3, H, W) I-frame of each segment."""
    return clip.iframes[torch.arange(len(clip))[:, None], clip.iframe_index].float()


def before(clip: CompressedClip) -> CompressedClip:
    """The clip that each one is mixed with."""
    return clip.take(torch.tensor([len(clip) - 1, *range(len(clip) - 1)]))


def test_mixup_is_the_weighted_mean_of_both_clips_in_every_segment():
    clip, ratio = random_clip(), torch.tensor([0.25, 0.5, 1.0])
    out, other = mixup(clip, ratio, CLASSES).validate(), before(clip)

    def mean(own: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
        weight = ratio.view(-1, *[1] * (own.dim() - 1))
        return weight * own + (1 - weight) * others

    torch.testing.assert_close(in_force(out), mean(in_force(clip), in_force(other)))
    for name in ("motion", "residual"):
        torch.testing.assert_close(getattr(out, name), mean(getattr(clip, name), getattr(other, name)))
    expected = torch.zeros(3, CLASSES)
    for row, (label, partner) in enumerate([(0, 2), (1, 0), (2, 1)]):
        expected[row, label] += ratio[row]
        expected[row, partner] += 1 - ratio[row]
    assert out.target is not None
    torch.testing.assert_close(out.target, expected)
    assert out.label.tolist() == [2, 1, 2]  # of the larger fraction
    assert torch.equal(out.modes[2], torch.where(clip.modes[2] == 0, other.modes[2], clip.modes[2]))


def centered_cutmix(clip: CompressedClip, ratio: torch.Tensor, num_classes: int) -> CompressedClip:
    return cutmix(clip, ratio, torch.full((2, len(clip)), 0.5), num_classes)


def test_cutmix_pastes_a_box_of_whole_blocks_and_counts_its_area():
    clip = random_clip(64, 96, batch=8)
    clip.label[:] = torch.arange(8) % CLASSES
    center = torch.rand(2, 8, generator=torch.Generator().manual_seed(0))
    out, other = cutmix(clip, torch.linspace(0, 1, 8), center, CLASSES).validate(), before(clip)
    assert out.target is not None
    for row in range(8):
        pasted = (out.residual[row] != clip.residual[row]).all(2).all(0).all(0)  # (H8, W8)
        rows, columns = pasted.any(1), pasted.any(0)
        assert torch.equal(pasted, rows[:, None] & columns)  # a box
        for name in ("motion", "residual"):
            own, others = getattr(clip, name)[row], getattr(other, name)[row]
            assert torch.equal(getattr(out, name)[row], torch.where(pasted, others, own))
        assert torch.equal(out.modes[row], torch.where(pasted, other.modes[row], clip.modes[row]))
        pixels = pasted.repeat_interleave(8, 0).repeat_interleave(8, 1)
        expected = torch.where(pixels, in_force(other)[row], in_force(clip)[row])
        assert torch.equal(in_force(out)[row], expected)
        ratio = 1 - pasted.float().mean()
        torch.testing.assert_close(out.target[row, clip.label[row]], ratio)
        torch.testing.assert_close(out.target[row, other.label[row]], 1 - ratio)
        assert out.label[row] == (clip.label[row] if ratio >= 0.5 else other.label[row])
    assert torch.equal(out.residual[7], clip.residual[7])  # a fraction of 1 keeps all


def test_cutmix_in_pixels_pastes_the_same_box():
    clip = random_clip(64, 96, pixel=True)
    out = cutmix(clip, torch.tensor([0.5, 0.5, 0.5]), torch.full((2, 3), 0.4), CLASSES).validate()
    pasted = (out.residual != clip.residual).all(3).all(2).all(1)  # (B, H, W)
    blocks = pasted.unfold(1, 8, 8).unfold(2, 8, 8).flatten(3)
    assert torch.equal(blocks.any(3), blocks.all(3))
    assert 0.2 < pasted.float().mean() < 0.6


@pytest.mark.parametrize("mix", [mixup, centered_cutmix])
def test_a_pframe_exists_where_either_clip_has_it(mix):
    clip = random_clip(batch=2)
    clip.mask[0, 0], clip.mask[:, 2] = False, False
    out = mix(clip, torch.tensor([0.6, 0.6]), CLASSES)
    assert out.mask[:, :2].all()
    assert not out.mask[:, 2].any()
    assert torch.equal(out.age != 0, out.mask)
    assert torch.equal(out.age[1, :2], clip.age[1, :2])
    assert torch.equal(out.age[0, 0], clip.age[1, 0])  # of the only clip that has it
    kept = mix(clip, torch.tensor([1.0, 1.0]), CLASSES)
    if mix is centered_cutmix:  # nothing was pasted, so nothing appears
        assert torch.equal(kept.mask, clip.mask)


def test_iframes_that_segments_share_stay_shared():
    clip = random_clip()
    clip.iframe_index[:] = torch.tensor([0, 0, 1])
    out = mixup(clip, torch.full((3,), 0.5), CLASSES)
    assert out.iframes.shape[1] == 2
    assert out.iframe_index.tolist() == [[0, 0, 1]] * 3


def test_a_batch_of_one_is_mixed_with_itself():
    clip = random_clip(batch=1)
    out = centered_cutmix(clip, torch.tensor([0.5]), CLASSES)
    assert out.target is not None
    assert out.target.tolist() == [[1.0, 0, 0, 0, 0]]
    assert torch.equal(out.residual, clip.residual)


@pytest.mark.parametrize("read_with", [MODALITIES, ("iframes", "motion"), ("motion", "residual")])
def test_a_clip_that_loses_a_modality_is_the_clip_read_without_it(shapes_root: Path, read_with):
    from cvr_lightning.clip import Sample, collate

    def read(modalities: tuple[str, ...]) -> CompressedClip:
        sampling = ClipSampling(segments=2, pframes=2, size=(64, 88), crop=64, modalities=modalities)
        arrays = read_clip(shapes_root / "test/left/0000.mp4", sampling)
        return collate([Sample(0, 0, 0, "left", arrays)])

    clip = read(read_with)
    for lost, name in enumerate(read_with):
        left = tuple(modality for modality in read_with if modality != name)
        assert_same(drop_modality(clip, torch.tensor([lost]), read_with), read(left))
    assert_same(drop_modality(clip, torch.tensor([-1]), read_with), clip)


def test_modalities_are_dropped_as_often_as_asked_and_one_at_a_time():
    clip = random_clip(batch=300)
    sampling = ClipSampling(size=(64, 88), crop=64, coefficients=COEFFICIENTS)
    out = TrainTransform(sampling, Augmentation(flip=False, color_jitter=0, modality_dropout=0.4), 300)(
        clip, clip_generators(0, 0, range(300))
    )
    lost = torch.stack([getattr(out, name).flatten(1).abs().sum(1) == 0 for name in MODALITIES])
    assert lost.sum(0).max() == 1
    assert ((lost.float().mean(1) - 0.4 / 3).abs() < 0.06).all()
    assert out.mask.all()
    assert not (out.modes == BlockMode.OUTSIDE).any()
