"""Any folder of videos: classes, splits, and messages about what is missing."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from helpers.factories import data_options

from cvr_lightning.datamodules import Folder
from cvr_lightning.datamodules.errors import DatasetMismatchError, DatasetNotFoundError


def fill(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def flat(root: Path, count: int = 10) -> Path:
    return fill(root, *(f"{kind}/{i:02d}.avi" for kind in ("walk", "run") for i in range(count)))


def ready(root: Path, **options: float) -> Folder:
    folder = Folder(root, **data_options(options))
    folder.setup()
    return folder


def test_an_existing_split_is_used(tmp_path):
    fill(tmp_path, "train/b/1.MP4", "train/b/notes.txt", "train/a/x.webm", "train/a/.hidden.avi")
    fill(tmp_path, "val/b/2.avi", "test/a/3.mkv", "test/.cache/4.avi")
    folder = ready(tmp_path)
    assert folder.class_names == ["a", "b"]
    assert folder.num_classes == 2
    assert folder.names == {
        "train": ("train/a/x.webm", "train/b/1.MP4"),
        "val": ("val/b/2.avi",),
        "test": ("test/a/3.mkv",),
    }
    assert folder.videos["train"].labels.tolist() == [0, 1]
    assert folder.protocol["subset"] == "test"


def test_a_flat_folder_is_split_per_class_and_reproducibly(tmp_path):
    flat(tmp_path)
    folder = ready(tmp_path, val_fraction=0.2, test_fraction=0.3)
    for subset, count in {"train": 5, "val": 2, "test": 3}.items():
        assert sorted(folder.videos[subset].labels) == [0] * count + [1] * count
    assert len({name for names in folder.names.values() for name in names}) == 20
    assert ready(tmp_path, val_fraction=0.2, test_fraction=0.3).names == folder.names
    assert ready(tmp_path, val_fraction=0.2, test_fraction=0.3, split_seed=1).names != folder.names
    assert ready(tmp_path, val_fraction=0.2, test_fraction=0.3, seed=1).names == folder.names


def test_without_test_the_validation_subset_is_tested_and_logged(tmp_path, caplog):
    fill(tmp_path, "train/a/1.avi", "val/a/2.avi")
    folder = ready(tmp_path)
    assert folder.names["test"] == ("val/a/2.avi",)
    assert folder.protocol["subset"] == "val"
    assert "split" not in folder.protocol
    folder.setup("test")
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "left out" not in caplog.text
    assert "has no test subset: testing uses the validation subset" in caplog.text


def test_without_val_a_fraction_of_training_is_held_out_and_logged(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    fill(tmp_path, *(f"train/a/{i}.avi" for i in range(10)))
    folder = ready(tmp_path, val_fraction=0.3)
    assert len(folder.names["val"]) == 3
    assert not set(folder.names["val"]) & set(folder.names["train"])
    assert folder.protocol["subset"] == "30% of the videos of each class, held out by split_seed"
    assert folder.protocol["split"] == 0
    assert (
        "has no val folder: 3 videos, 30% of the videos of each class, held out by split_seed=0"
        in caplog.text
    )


@pytest.mark.parametrize(
    ("names", "problem"),
    [
        ([], "there are no class folders"),
        (["train/1.avi", "test/2.avi"], "test and train must hold a folder for each class"),
        (["1.avi"], "no class folders; cvr classify FOLDER"),
        (["a/old/1.avi", "a/notes.txt", "b/1.avi"], r"class 'a' has no videos .* left out of a: "),
        (["train/a/1.avi", "train/b/readme.txt", "val/a/2.avi"], "class 'b' has no videos"),
        (["train/a/1.avi", "val/a/readme.txt"], "there are no videos"),
    ],
)
def test_missing_folders_are_named_with_the_layout_and_a_solution(tmp_path, names, problem):
    with pytest.raises(DatasetNotFoundError, match=problem) as caught:
        ready(fill(tmp_path, *names))
    for text in (str(tmp_path), "{train,val,test}/<class>/<video>", "--data.root"):
        assert text in str(caught.value)


def test_a_missing_root_is_found_when_the_datamodule_is_built(tmp_path):
    with pytest.raises(DatasetNotFoundError, match="the folder does not exist"):
        Folder(tmp_path / "nowhere")


def test_a_class_that_training_lacks_is_an_error(tmp_path):
    fill(tmp_path, "train/a/1.avi", "val/jump/2.avi")
    with pytest.raises(DatasetMismatchError, match=r"class .jump. has no folder in .*train"):
        ready(tmp_path)


def test_a_class_too_small_to_split_is_named(tmp_path):
    fill(flat(tmp_path), "jump/only.avi")
    with pytest.raises(DatasetMismatchError, match="class 'jump' has too few videos"):
        ready(tmp_path)


@pytest.mark.parametrize("fractions", [(0.0, 0.1), (0.5, 0.5), (0.1, -0.1)])
def test_fractions_out_of_range_are_refused(tmp_path, fractions):
    with pytest.raises(ValueError, match="leave something to train on"):
        Folder(flat(tmp_path), val_fraction=fractions[0], test_fraction=fractions[1])


def test_one_line_says_what_is_left_out_of_each_class_and_why(tmp_path, caplog):
    fill(tmp_path, "train/a/1.AVI", "train/a/2.wmv", "train/a/old/3.mp4", "train/a/old/4.txt")
    fill(tmp_path, "train/a/notes.doc", "train/a/._1.AVI", "train/__MACOSX/a/._1.AVI", "train/5.mp4")
    fill(tmp_path, "val/a/6.3gp", "more/a/7.avi", "more/a/8.avi")
    (tmp_path / "val" / "a" / "gone.mp4").symlink_to("nowhere.mp4")
    (tmp_path / "val" / "a" / "loop.mp4").symlink_to("loop.mp4")
    folder = ready(tmp_path)
    assert folder.names["train"] == ("train/a/1.AVI", "train/a/2.wmv")
    assert folder.names["val"] == ("val/a/6.3gp",)
    lines = [message for message in caplog.messages if "left out" in message]
    assert len(lines) == 1
    for told in (
        "of the root: 2 in folders beside train, val (more)",
        "of train: ",
        "1 hidden (__MACOSX)",
        "1 beside the class folders (5.mp4)",
        "of train/a: ",
        "2 in sub-folders (old/3.mp4)",
        "1 without a video suffix (notes.doc)",
        "1 hidden (._1.AVI)",
        "of val/a: 2 linked to nothing (gone.mp4)",
    ):
        assert told in lines[0]


def test_many_folders_are_summarized_by_their_number(tmp_path, caplog):
    fill(tmp_path, *(f"train/c{i:02d}/{name}" for i in range(30) for name in ("1.avi", "2.avi", "x.txt")))
    ready(tmp_path)
    assert "of train/c04: 1 without a video suffix (x.txt); 25 of 25 other folders" in caplog.text


def test_a_class_may_be_called_train(tmp_path):
    fill(flat(tmp_path), *(f"train/{i}.avi" for i in range(10)))
    folder = ready(tmp_path)
    assert folder.class_names == ["run", "train", "walk"]
    assert folder.flat


def test_a_test_subset_alone_is_scored_but_not_trained_on(tmp_path):
    fill(tmp_path, "test/b/1.avi", "test/a/2.avi")
    folder = ready(tmp_path)
    assert folder.class_names == ["a", "b"]
    assert folder.names == {"train": (), "val": (), "test": ("test/a/2.avi", "test/b/1.avi")}
    assert len(folder.test_dataloader().dataset) == 2
    with pytest.raises(DatasetNotFoundError, match="none of the videos of the train subset"):
        folder.train_dataloader()
