"""Draws are a pure function of seed and epoch, and each item counts once over all ranks."""

from __future__ import annotations

import json

import pytest

from cvr_lightning.datamodules import video_sampler
from cvr_lightning.datamodules.sampling import ClipSampling, training_offsets, view_offset
from cvr_lightning.datamodules.video_sampler import VideoSampler
from cvr_lightning.errors import RunError


@pytest.fixture
def ranks(monkeypatch):
    """Call with (rank, world) to stand in for a process group."""

    def become(rank: int, world: int) -> None:
        monkeypatch.setattr(video_sampler, "_rank_and_world", lambda: (rank, world))

    return become


def test_training_offsets_depend_on_seed_epoch_and_video_only():
    assert training_offsets(1, 2, 3, 4) == training_offsets(1, 2, 3, 4)
    assert len({training_offsets(*key, 4) for key in [(1, 2, 3), (2, 2, 3), (1, 3, 3), (1, 2, 4)]}) == 4
    assert all(0 <= offset < 1 for offset in training_offsets(0, 0, 0, 1000))


def test_views_differ_and_one_view_is_the_middle():
    assert view_offset(0, 1) == 0.5
    assert [view_offset(view, 4) for view in range(4)] == [0.125, 0.375, 0.625, 0.875]


def test_clip_sampling_survives_json():
    value = ClipSampling(segments=5, modalities=("motion",), size=(64, 88), crop=64, views=3)
    assert ClipSampling.from_dict(json.loads(json.dumps(value.to_dict()))) == value


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"representation": "blocks"}, "choose one of 'block', 'pixel', 'rgb'"),
        ({"representation": "rgb", "modalities": ("motion",)}, "decoded frames only"),
        ({"modalities": ("rgb",)}, "choose one of 'iframes', 'motion', 'residual'"),
        ({"modalities": ()}, "at least one"),
        ({"parser": "opencv"}, "choose one of 'auto'"),
        ({"crop": 220}, "multiple of 8"),
        ({"crop": 264}, r"size=\(256, 340\)"),
        ({"coefficients": (65, 4)}, "between 1 and 64"),
        ({"coefficients": (16,)}, r"coefficients=\(16,\) must be two numbers"),
        ({"size": (256, 340, 3)}, r"size=\(256, 340, 3\) must be two numbers"),
        ({"segments": 0}, "segments=0 must be at least 1"),
    ],
)
def test_bad_options_are_refused_with_what_is_supported(options, message):
    with pytest.raises(ValueError, match=message):
        ClipSampling(**options)


def test_unknown_keys_of_a_stored_sampling_are_refused():
    with pytest.raises(ValueError, match=r"missing \['views'\], unknown \['clips'\]"):
        ClipSampling.from_dict(
            {k: v for k, v in ClipSampling().to_dict().items() if k != "views"} | {"clips": 1}
        )


def test_the_training_order_depends_on_the_epoch_and_is_reproducible():
    sampler = VideoSampler(10, training=True, seed=5)
    first = list(sampler)
    sampler.set_epoch(1)
    second = list(sampler)
    sampler.set_epoch(0)
    assert list(sampler) == first
    assert [draw.video for draw in first] != [draw.video for draw in second]
    assert sorted(draw.video for draw in second) == list(range(10))
    assert {draw.epoch for draw in second} == {1}


@pytest.mark.parametrize("world", [1, 2, 3, 7])
def test_evaluation_draws_each_view_once_over_all_ranks_and_keeps_a_video_together(ranks, world):
    drawn = []
    for rank in range(world):
        ranks(rank, world)
        sampler = VideoSampler(11, training=False, views=3)
        own = list(sampler)
        assert len(own) == len(sampler)
        assert len({draw.video for draw in own}) * 3 == len(own)
        drawn += [(draw.video, draw.view) for draw in own]
    assert sorted(drawn) == [(video, view) for video in range(11) for view in range(3)]


def test_training_ranks_share_equally_and_never_the_same_video(ranks):
    parts = []
    for rank in range(4):
        ranks(rank, 4)
        parts.append([draw.video for draw in VideoSampler(11, training=True)])
    assert [len(part) for part in parts] == [2, 2, 2, 2]
    assert len({video for part in parts for video in part}) == 8


@pytest.mark.parametrize(("training", "subset"), [(True, "training"), (False, "validation or test")])
def test_more_ranks_than_videos_is_an_error(ranks, training, subset):
    ranks(0, 4)
    with pytest.raises(RunError, match=f"3 {subset} videos cannot be split over 4 processes"):
        len(VideoSampler(3, training))
