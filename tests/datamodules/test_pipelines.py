"""What the model is shown: the views of an evaluation, the augmentation of training."""

from __future__ import annotations

import pytest
import torch
from helpers.factories import COEFFICIENTS, assert_same, random_clip

from cvr_lightning.clip import CompressedClip
from cvr_lightning.datamodules.pipelines import Augmentation, EvalTransform, TrainTransform
from cvr_lightning.datamodules.sampling import ClipSampling, clip_generators
from cvr_lightning.datamodules.transforms import flip

SIDE = 48
FRAMES = ClipSampling(size=(64, 88), crop=SIDE, coefficients=COEFFICIENTS)


def with_crops(crops: int, size: tuple[int, int] = (64, 88)) -> EvalTransform:
    return EvalTransform(ClipSampling(size=size, crop=SIDE, coefficients=COEFFICIENTS, crops=crops))


def training(**options: object) -> TrainTransform:
    return TrainTransform(FRAMES, Augmentation(**({"flip": False, "color_jitter": 0.0} | options)), 5)


def augmented(clip: CompressedClip, transform: TrainTransform, epoch: int = 0) -> CompressedClip:
    return transform(clip, clip_generators(0, epoch, clip.video.tolist())).validate()


def located(height: int = 64, width: int = 88) -> CompressedClip:
    """Clips whose I-frames hold the row (red) and the column (green) of each pixel."""
    clip = random_clip(height, width)
    clip.iframes[:, :, 0] = torch.arange(height)[:, None].to(torch.uint8)
    clip.iframes[:, :, 1] = torch.arange(width).to(torch.uint8)
    return clip


def corners(clip: CompressedClip) -> list[tuple[int, int]]:
    return [(int(row), int(column)) for row, column in clip.iframes[:, 0, :2, 0, 0]]


@pytest.mark.parametrize(
    ("crops", "size", "expected"),
    [
        (1, (64, 88), [(8, 16)]),
        (3, (64, 88), [(8, 0), (8, 16), (8, 40)]),
        (3, (88, 64), [(0, 8), (16, 8), (40, 8)]),
        (3, (60, 86), [(0, 0), (0, 16), (0, 32)]),  # what exceeds a multiple of 8 stays outside
        (5, (64, 88), [(0, 0), (0, 40), (16, 0), (16, 40), (8, 16)]),
    ],
)
def test_crops_are_at_the_usual_positions(crops, size, expected):
    clip = located(*size)
    out = with_crops(crops, size)(clip).validate()
    assert corners(out) == expected * 3
    assert out.view.tolist() == list(range(crops)) * 3
    assert out.iframes.dtype == torch.uint8
    for row, (top, left) in enumerate(expected):
        rows, columns = slice(top // 8, top // 8 + 6), slice(left // 8, left // 8 + 6)
        assert torch.equal(out.residual[row], clip.residual[0][..., rows, columns])
        assert torch.equal(out.motion[row], clip.motion[0][..., rows, columns])


def test_ten_crops_are_five_and_their_mirror_images_all_different():
    clip = located()
    clip.view[:] = torch.tensor([0, 1, 2])
    out = with_crops(10)(clip).validate()
    assert out.view.tolist() == list(range(30))
    assert out.video.tolist() == [0] * 10 + [1] * 10 + [2] * 10
    five = with_crops(5)(clip)
    assert_same(out.take(torch.arange(0, 30, 2)).with_tensors(view=five.view), five)
    mirrored = flip(five, torch.ones(15, dtype=torch.bool), COEFFICIENTS)
    assert_same(out.take(torch.arange(1, 30, 2)).with_tensors(view=five.view), mirrored)
    assert len({field.numpy().tobytes() for field in out.residual[:10]}) == 10


def test_training_takes_native_squares_and_follows_its_generators():
    clip, transform = (
        random_clip(),
        training(flip=True, color_jitter=0.3, mixup=0.4, cutmix=1.0, modality_dropout=0.5),
    )
    first = augmented(clip, transform)
    assert_same(augmented(clip, transform), first)
    assert not torch.equal(augmented(clip, transform, epoch=1).iframes, first.iframes)
    assert first.iframes.shape[-2:] == (SIDE, SIDE)
    assert first.iframes.min() >= 0
    assert first.iframes.max() <= 255


def test_without_options_a_training_clip_is_an_exact_slice():
    clip = located()
    out = augmented(clip, training())
    assert out.target is None
    assert torch.equal(out.label, clip.label)
    for row, (top, left) in enumerate(corners(out)):
        rows, columns = slice(top // 8, top // 8 + 6), slice(left // 8, left // 8 + 6)
        assert torch.equal(out.residual[row], clip.residual[row][..., rows, columns])


def test_random_crops_reach_both_borders_of_frames_that_are_not_a_multiple_of_8():
    clip = located(64, 84)
    lefts = {left for epoch in range(40) for _, left in corners(augmented(clip, training(), epoch))}
    assert lefts == {0, 8, 16, 24, 32}


def test_scales_give_squares_of_several_sizes_resized_to_one():
    clip, transform = located(), training(scale_jitter=(4 / 3, 1.0, 2 / 3))
    assert transform.sides == [64, 48, 32]
    widths: set[int] = set()
    for epoch in range(10):
        out = augmented(clip, transform, epoch)
        assert out.iframes.shape[-2:] == (SIDE, SIDE)
        assert torch.equal(out.video, clip.video)  # every clip keeps its place in the batch
        for row, (top, left) in enumerate(corners(out)):
            # The green of the last column says how many source pixels the square is wide.
            width = int(out.iframes[row, 0, 1, 0, -1]) - left
            side = min(transform.sides, key=lambda s: abs(s - width))
            widths.add(side)
            source = clip.residual[row][..., (top + 4) // 8, (left + 4) // 8]
            assert torch.equal(out.residual[row][..., 0, 0], source)
            ratio = SIDE / side
            first = clip.motion[row][..., (top + 4) // 8, (left + 4) // 8] * ratio
            torch.testing.assert_close(out.motion[row][..., 0, 0], first)
    assert widths == {64, 48, 32}


def test_a_clip_is_augmented_alike_in_whatever_batch_it_is():
    clip, transform = (
        located(),
        training(flip=True, color_jitter=0.3, scale_jitter=(4 / 3, 1.0), modality_dropout=0.5),
    )
    together = augmented(clip, transform)
    for rows in (torch.tensor([1]), torch.tensor([2, 0])):
        assert_same(augmented(clip.take(rows), transform), together.take(rows))


def test_empty_batches_pass():
    clip = random_clip().map(lambda tensor: tensor[:0])
    assert len(with_crops(10)(clip)) == 0
    assert len(training(flip=True, color_jitter=0.2, mixup=1.0)(clip, [])) == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"color_jitter": 1.5}, r"color_jitter=1\.5 must be in"),
        ({"scale_jitter": (1.5,)}, "between 8 pixels and the frame's shorter side, 64"),
        ({"scale_jitter": (0.01,)}, "between 8 pixels"),
        ({"scale_jitter": ()}, "scale_jitter is empty"),
        ({"mixup": -1.0}, r"mixup=-1\.0 must be a non-negative number"),
        ({"cutmix": -0.5}, r"cutmix=-0\.5 must be a non-negative number"),
        ({"modality_dropout": 2.0}, r"modality_dropout=2\.0 must be in"),
    ],
)
def test_augmentation_out_of_range_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        training(**options)


def test_the_last_modality_is_never_dropped():
    with pytest.raises(ValueError, match="modality_dropout needs two modalities"):
        TrainTransform(ClipSampling(modalities=("motion",)), Augmentation(modality_dropout=0.1), 5)
