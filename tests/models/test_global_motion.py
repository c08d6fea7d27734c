"""The camera's displacement is the median of a frame's vectors, and what is left does not depend on a pan."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.factories import make_clip, random_clip

from cvr_lightning.clip import BlockMode, CompressedClip
from cvr_lightning.energy.counting import OperationCounter
from cvr_lightning.models import CompressedVideoRecognizer
from cvr_lightning.models.global_motion import GlobalMotionCurrent, global_motion, split_motion
from cvr_lightning.models.stem import MOTION_GAIN, MOTION_SCALE, BlockStem, compress


def panned(clip: CompressedClip, pan: torch.Tensor) -> CompressedClip:
    """The clip as a camera that moves would have coded it: every block with a vector moves along."""
    has_vector = (clip.modes < BlockMode.INTRA).unsqueeze(3)
    return replace(clip, motion=clip.motion + pan.view(1, 1, 1, 2, 1, 1) * has_vector)


@pytest.fixture
def clip() -> CompressedClip:
    """Every frame has an odd number of vectors, so that one is in the middle."""
    clip = random_clip(height=64, width=64)
    even = (clip.modes < BlockMode.INTRA).flatten(3).sum(dim=3) % 2 == 0
    first = clip.modes[..., 0, 0]
    first[even] = torch.where(first[even] < BlockMode.INTRA, BlockMode.INTRA.value, BlockMode.INTER.value).to(
        torch.uint8
    )
    clip.motion = (4 * clip.motion).round() / 4  # so that sums are exact
    clip.motion[(clip.modes >= BlockMode.INTRA).unsqueeze(3).expand_as(clip.motion)] = 0
    return clip


def test_global_motion_is_the_median_of_the_blocks_with_a_vector(clip: CompressedClip) -> None:
    clip.modes[0, 0, 0] = BlockMode.INTRA
    clip.modes[0, 0, 1] = BlockMode.OUTSIDE
    camera = split_motion(clip)[1]
    assert camera[0, 0].count_nonzero() == 0
    for place in [(0, 1, 0), (1, 2, 1), (2, 0, 0)]:
        inside = (clip.modes[place] < BlockMode.INTRA).numpy()
        vectors = clip.motion[place].numpy()[:, inside]
        middle = (np.quantile(vectors, 0.5, axis=1, method=side) for side in ("lower", "higher"))
        assert camera[place].tolist() == [
            0 if low == -high else min(low, high, key=abs) for low, high in zip(*middle, strict=True)
        ]


@pytest.mark.parametrize(
    ("vectors", "camera"),
    [
        ([3.0, 1.0, 7.0, 5.0], 3),
        ([0.0, 0.0, 6.0, 6.0], 0),
        ([-2.0, -4.0, 1.0, -9.0], -2),
        ([1.0, 2.0, -2.0], 1),
        ([-3.0, -1.0, 1.0, 3.0], 0),
    ],
)
def test_of_two_middle_values_the_nearer_to_zero_is_taken_so_that_mirroring_commutes(
    vectors: list[float], camera: float
) -> None:
    motion = torch.tensor(vectors).expand(1, 1, 1, 2, 1, len(vectors))
    everywhere = torch.ones(1, 1, 1, 1, 1, len(vectors), dtype=torch.bool)
    assert global_motion(motion, everywhere).tolist() == [[[[camera, camera]]]]
    assert global_motion(-motion, everywhere).tolist() == [[[[-camera, -camera]]]]


def test_a_pan_changes_global_motion_and_not_relative_vectors(clip: CompressedClip) -> None:
    pan = torch.tensor([5.25, -2.5])
    still, camera = split_motion(clip)
    moving, moved_camera = split_motion(panned(clip, pan))
    assert torch.equal(moving, still)
    seen = (clip.modes < BlockMode.INTRA).flatten(3).any(dim=3, keepdim=True)
    assert torch.equal(moved_camera, camera + pan * seen)


def test_without_global_motion_vectors_are_unchanged() -> None:
    clip = make_clip()
    clip.modes[..., :5] = BlockMode.SKIPPED  # more than half of the 8 x 8 blocks
    clip.motion[..., :5] = 0
    relative, camera = split_motion(clip)
    assert camera.count_nonzero() == 0
    assert torch.equal(relative, clip.motion)


def test_images_of_vectors_are_split_as_blocks_are(clip: CompressedClip) -> None:
    relative, camera = split_motion(clip)
    images = clip.motion.repeat_interleave(8, dim=-2).repeat_interleave(8, dim=-1)
    of_images, same_camera = split_motion(replace(clip, motion=images))
    assert torch.equal(same_camera, camera)
    assert torch.equal(of_images[..., ::8, ::8], relative)


def test_without_global_motion_compensation_the_stem_takes_vectors_as_they_are(clip: CompressedClip) -> None:
    fields = BlockStem(24, global_motion=False)(clip)
    assert fields.global_motion is None
    expected = MOTION_GAIN * compress(clip.motion, MOTION_SCALE)
    assert torch.equal(fields.blocks[:, :, :2], expected.flatten(0, 1))


def test_the_current_of_global_motion_is_initialized_to_zero(clip: CompressedClip) -> None:
    recognizer = CompressedVideoRecognizer(5).eval()
    pan = torch.tensor([5.25, -2.5])
    with torch.no_grad():
        assert torch.equal(recognizer(panned(clip, pan)), recognizer(clip))
        torch.nn.init.ones_(recognizer.pframe_encoder.global_motion_current.weight)
        assert not torch.equal(recognizer(panned(clip, pan)), recognizer(clip))


def test_currents_are_a_linear_map_that_is_counted() -> None:
    layer = GlobalMotionCurrent(3)
    layer.weight.data = torch.tensor([[1.0, 2.0, 3.0], [10.0, 20.0, 30.0]])
    with OperationCounter(layer) as counter:
        currents = layer(torch.tensor([[[0.5, 2.0]], [[0.0, -1.0]]]))
    assert currents[..., 0, 0].tolist() == [[[20.5, 41, 61.5]], [[-10, -20, -30]]]
    assert counter.report(1).gmac == pytest.approx(2 * 3 * 2 * 1e-9)


def test_currents_have_the_type_of_autocast(clip: CompressedClip) -> None:
    recognizer = CompressedVideoRecognizer(5).eval()
    seen = []
    recognizer.pframe_encoder.layers["layer1"].modulator.neurons.register_forward_hook(
        lambda layer, inputs, fired: seen.append((inputs[0].dtype, fired.spikes.dtype))
    )
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        recognizer(clip)
    assert seen == [(torch.bfloat16, torch.bfloat16)]
