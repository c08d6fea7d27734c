"""Names and labels of half a million videos without an object for each."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from cvr_lightning.datamodules.dataset import VideoList
from cvr_lightning.datamodules.names import Names

STRINGS = ("a/1.avi", "", "Reißen/ü.mp4", "日本/動画.mkv", "latin\udce9.avi")


def test_names_are_the_strings_they_were_made_of():
    names = Names(STRINGS)
    assert len(names) == 5
    assert tuple(names) == STRINGS
    assert names[1:4] == STRINGS[1:4]
    assert [names[-1], names[np.int64(2)]] == [STRINGS[-1], STRINGS[2]]
    assert "a/1.avi" in names
    assert names == STRINGS == Names(iter(STRINGS))
    assert names != STRINGS[:4]
    assert tuple(Names([])) == ()


@pytest.mark.parametrize("index", [5, -6])
def test_names_beyond_the_last_are_refused(index):
    with pytest.raises(IndexError, match=f"{index} of 5"):
        Names(STRINGS)[index]


def test_a_pickle_is_text_and_numbers():
    names = Names(f"class_{i % 400}/video_{i:07d}.mp4" for i in range(10_000))
    data = pickle.dumps(names)
    assert len(data) < 10_000 * (len(names[-1]) + 8) + 1000
    assert pickle.loads(data) == names


def test_labels_are_an_array():
    videos = VideoList(["a/1.avi", "b/2.avi"], (0, 1))
    assert len(videos) == 2
    assert videos.labels.dtype == np.int64
    assert videos.labels.tolist() == [0, 1]


def test_a_name_without_a_label_is_refused():
    with pytest.raises(ValueError, match="2 names for 1 labels"):
        VideoList(["a/1.avi", "b/2.avi"], [0])
