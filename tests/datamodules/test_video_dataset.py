"""Videos as a plain data set of PyTorch's."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.encoders import encode
from torch.utils.data import DataLoader

from cvr_lightning import VideoDataset
from cvr_lightning.clip import collate
from cvr_lightning.codec.arrays import ClipArrays
from cvr_lightning.codec.errors import UnreadableVideoError
from cvr_lightning.datamodules.clips import read_clip
from cvr_lightning.datamodules.errors import DatasetNotFoundError
from cvr_lightning.datamodules.sampling import ClipSampling, training_offsets

SAMPLING = ClipSampling(segments=2, pframes=2, size=(64, 88), crop=64)
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("videos")
    for name in ("jump/0.avi", "jump/1.avi", "run/2.avi"):
        (root / name).parent.mkdir(exist_ok=True)
        encode(root / name, (96, 80), frames=20)
    (root / "run" / "notes.txt").touch()
    return root


def test_a_folder_of_class_folders_goes_through_a_plain_loader(videos: Path) -> None:
    dataset = VideoDataset(videos, SAMPLING)
    assert dataset.class_names == ("jump", "run")
    assert list(dataset.names) == ["jump/0.avi", "jump/1.avi", "run/2.avi"]
    (clip,) = DataLoader(dataset, batch_size=3, collate_fn=collate, num_workers=1)
    assert clip.label.tolist() == [0, 0, 1] == dataset.labels.tolist()
    assert clip.motion.shape == (3, 2, 2, 2, 8, 11)
    expected = read_clip(videos / "run/2.avi", SAMPLING)
    assert np.array_equal(clip.residual[2].numpy(), expected.residual)


def test_files_may_have_labels(videos: Path) -> None:
    files = [videos / "run/2.avi", str(videos / "jump/0.avi")]
    assert [sample.label for sample in VideoDataset(files, SAMPLING, labels=[4, 2])] == [4, 2]
    assert VideoDataset(["run/2.avi"], SAMPLING, root=videos)[-1].label == -1
    with pytest.raises(ValueError, match="2 names for 1 labels"):
        VideoDataset(files, SAMPLING, labels=[1])
    with pytest.raises(ValueError, match="labels come from the class folders"):
        VideoDataset(videos, SAMPLING, labels=[1])


def test_training_draws_other_windows_each_epoch(videos: Path) -> None:
    dataset = VideoDataset(videos, SAMPLING, training=True, seed=3)
    dataset.set_epoch(5)
    expected = read_clip(videos / "jump/1.avi", SAMPLING, training_offsets(3, 5, 1, 2))
    arrays = dataset[1].arrays
    assert isinstance(arrays, ClipArrays)
    assert np.array_equal(arrays.motion, expected.motion)


def test_a_video_that_cannot_be_read_raises_or_is_named(videos: Path, tmp_path: Path) -> None:
    (tmp_path / "empty.avi").touch()
    files = [videos / "jump/0.avi", tmp_path / "empty.avi"]
    with pytest.raises(UnreadableVideoError, match=r"empty\.avi"):
        VideoDataset(files, SAMPLING)[1]
    (clip,) = DataLoader(VideoDataset(files, SAMPLING, on_error="skip"), batch_size=2, collate_fn=collate)
    assert len(clip) == 1
    assert list(clip.unreadable) == [1]


@pytest.mark.parametrize(
    ("folder", "problem"), [("none", "there is no such folder"), ("jump", "its folders contain no videos")]
)
def test_a_folder_without_videos_is_refused(folder: str, problem: str, videos: Path) -> None:
    with pytest.raises(DatasetNotFoundError, match=problem):
        VideoDataset(videos / folder, SAMPLING)


def test_an_index_beyond_the_end_raises_index_error(videos: Path) -> None:
    dataset = VideoDataset(videos, SAMPLING)
    with pytest.raises(IndexError):
        dataset[3]
    assert len(list(dataset)) == len(dataset) == 3


def test_importing_and_reading_it_loads_no_lightning(videos: Path) -> None:
    program = (
        "import sys; from cvr_lightning import VideoDataset; from cvr_lightning.clip import collate; "
        f"collate([VideoDataset({str(videos)!r})[0]]); "
        "sys.exit(any(name.partition('.')[0] in ('lightning', 'pytorch_lightning') for name in sys.modules))"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    assert subprocess.run([sys.executable, "-c", program], env=environment).returncode == 0


def test_the_first_of_several_views_is_read(videos: Path) -> None:
    arrays = VideoDataset(videos, replace(SAMPLING, views=2))[0].arrays
    assert isinstance(arrays, ClipArrays)
    expected = read_clip(videos / "jump/0.avi", SAMPLING, 0.25)
    assert torch.equal(torch.from_numpy(arrays.motion), torch.from_numpy(expected.motion))
