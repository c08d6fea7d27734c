import pytest
import torch
from helpers.factories import make_arrays, make_clip, make_sample

from cvr_lightning.clip import CompressedClip, Sample, collate
from cvr_lightning.codec.errors import UnreadableVideoError


def test_clips_with_fewer_iframes_are_padded_and_never_point_to_the_padding() -> None:
    samples = [make_sample(0, iframes=1), make_sample(1, iframes=3)]
    clip = collate(samples)
    assert clip.iframes.shape == (2, 3, 3, 64, 64)
    assert int(clip.iframe_index[0].max()) == 0
    assert samples[0].arrays is not None
    assert torch.equal(clip.iframes[0, :1], torch.from_numpy(samples[0].arrays.iframes))
    assert not clip.iframes[0, 1:].any()


def test_an_unreadable_video_is_named_and_leaves_no_row() -> None:
    error = UnreadableVideoError("broken.avi", "it is empty")
    clip = collate([make_sample(0, label=3), Sample(1, 0, 4, "broken.avi", error)])
    assert len(clip) == 1
    assert clip.label.tolist() == [3]
    assert clip.unreadable == {1: error}


def test_a_batch_of_unreadable_videos_is_empty_and_names_them() -> None:
    errors = {video: UnreadableVideoError(f"{video}.avi", "it is empty") for video in range(2)}
    clip = collate([Sample(video, 0, 1, error.file, error) for video, error in errors.items()])
    assert len(clip) == 0
    assert clip.unreadable == errors


def test_moving_a_batch_keeps_every_field() -> None:
    clip = make_clip()
    clip.unreadable = {7: UnreadableVideoError("x.avi", "it is empty")}
    clip.target = torch.rand(2, 5)
    moved = clip.to("cpu")
    assert moved.unreadable == clip.unreadable
    assert len(dict(moved.tensors())) == 11
    for (name, before), (_, after) in zip(clip.tensors(), moved.tensors(), strict=True):
        assert torch.equal(before, after), name


def test_samples_of_different_size_cannot_be_batched() -> None:
    with pytest.raises((ValueError, RuntimeError)):
        collate([make_sample(0, side=64), make_sample(1, side=128)])


@pytest.mark.parametrize(
    ("name", "wrong", "message"),
    [
        ("motion", torch.zeros(2, 3, 4, 2, 7, 8), r"motion has shape \(2, 3, 4, 2, 7, 8\), expected .*8, 8"),
        ("modes", torch.zeros(2, 3, 8, 8), "modes has shape"),
        ("label", torch.zeros(3), "label has shape"),
        ("mask", torch.zeros(2, 3, 4), "mask is torch.float32"),
        ("iframe_index", torch.full((2, 3), 9), "outside the 2 I-frames"),
        ("target", torch.zeros(3, 5), r"target has shape \(3, 5\), expected \(2, classes\)"),
    ],
)
def test_a_broken_batch_says_which_field_and_how(name: str, wrong: torch.Tensor, message: str) -> None:
    clip: CompressedClip = make_clip()
    setattr(clip, name, wrong)
    with pytest.raises(ValueError, match=message):
        clip.validate()


def test_arrays_are_on_the_block_grid() -> None:
    arrays = make_arrays(side=64)
    assert arrays.motion.shape[-2:] == arrays.modes.shape[-2:] == (8, 8)
