"""UCF-101: published lists, labels from folders, a validation subset of whole groups."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from helpers.factories import data_options
from helpers.tiny_datasets import UCF101_CLASSES, write_lines, write_ucf101

from cvr_lightning.datamodules import UCF101
from cvr_lightning.datamodules.errors import DatasetError, DatasetMismatchError, DatasetNotFoundError


@pytest.fixture
def root(tmp_path, clips) -> Path:
    return write_ucf101(tmp_path / "ucf", clips)


def ready(root: Path, **options: object) -> UCF101:
    data = UCF101(root, **data_options(options))
    data.setup()
    return data


def group(name: str) -> str:
    return name.rpartition("_c")[0]


def test_subsets_are_those_of_the_lists_and_of_the_split(root):
    for split in (1, 2, 3):
        data = ready(root, split=split)
        assert data.class_names == list(UCF101_CLASSES)
        lists = root / "ucfTrainTestlist"
        train = (lists / f"trainlist{split:02d}.txt").read_text().split()[::2]
        test = (lists / f"testlist{split:02d}.txt").read_text().split()
        on_disk = {path.relative_to(root / "UCF-101").as_posix() for path in root.rglob("*.avi")}
        found = {
            subset: {name.removeprefix("UCF-101/") for name in names} for subset, names in data.names.items()
        }
        assert found["train"] | found["val"] == set(train) & on_disk
        assert found["test"] == set(test) & on_disk
        assert data.protocol["split"] == split
        assert (data.protocol["dataset"], data.protocol["subset"]) == ("UCF101", "test")


def test_the_label_is_the_folder_also_where_file_and_folder_are_spelled_differently(root):
    data = ready(root)
    labels = dict(zip(data.videos["test"].names, data.videos["test"].labels, strict=True))
    assert labels["UCF-101/HandstandPushups/v_HandStandPushups_g01_c01.avi"] == 2
    assert labels["UCF-101/Archery/v_Archery_g01_c01.avi"] == 1


def test_a_list_and_a_folder_that_spell_the_class_like_its_videos_work_too(root):
    (root / "UCF-101" / "HandstandPushups").rename(root / "UCF-101" / "HandStandPushups")
    for file in root.glob("ucfTrainTestlist/t*.txt"):
        file.write_bytes(file.read_bytes().replace(b"HandstandPushups/", b"HandStandPushups/"))
    data = ready(root)
    assert list(data.videos["test"].labels).count(2) == 2
    assert data.names["test"][-1] == "UCF-101/HandStandPushups/v_HandStandPushups_g01_c02.avi"


def test_validation_takes_whole_groups_of_every_class_and_the_same_ones_each_time(root):
    data = ready(root, val_fraction=0.3)
    train, val = data.names["train"], data.names["val"]
    assert not {group(name) for name in train} & {group(name) for name in val}
    assert sorted(data.videos["val"].labels) == [0, 0, 1, 1, 2, 2]
    assert len(train) == 12
    assert ready(root, val_fraction=0.3).names == data.names
    others = [ready(root, val_fraction=0.3, split_seed=seed).names["val"] for seed in range(1, 5)]
    assert any(names != val for names in others)


def test_the_fraction_is_filled_by_groups_that_fit_and_never_by_all(root):
    assert len(ready(root, val_fraction=0.7).names["val"]) == 12
    assert len(ready(root, val_fraction=0.99).names["train"]) == 6
    assert len(ready(root, val_fraction=0.01).names["val"]) == 6


def test_without_a_validation_subset_the_test_subset_is_validated_with_a_warning(root, caplog):
    data = ready(root, val_fraction=0)
    assert len(data.names["train"]) == 18
    assert data.names["val"] == data.names["test"]
    assert "val_fraction=0, so validation reads the test subset; report last.ckpt" in caplog.text


def test_a_list_that_differs_from_the_published_one_causes_a_warning(root, caplog):
    ready(root)
    assert "trainlist01.txt lists 18 videos instead of the published 9537" in caplog.text
    assert "testlist01.txt lists 6 videos instead of the published 3783" in caplog.text


@pytest.mark.parametrize("suffix", [".mp4", ".avi"])
def test_prepared_videos_with_the_lists_elsewhere(tmp_path, clips, suffix):
    root = write_ucf101(tmp_path / "ucf", clips, suffix)
    (root / "ucfTrainTestlist").rename(tmp_path / "lists")
    (root / "UCF-101").rename(tmp_path / "prepared")
    data = ready(tmp_path / "prepared", annotations=tmp_path / "lists")
    assert len(data.names["test"]) == 5
    assert data.names["test"][0] == f"ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01{suffix}"


def test_the_layout_of_toolboxes_is_read(root):
    (root / "ucfTrainTestlist").rename(root / "annotations")
    (root / "UCF-101").rename(root / "videos")
    (root / "rawframes" / "Archery" / "v_Archery_g01_c01").mkdir(parents=True)
    assert ready(root).names["test"][0].startswith("videos/ApplyEyeMakeup/")


def test_missing_lists_are_named_with_their_source(tmp_path):
    with pytest.raises(DatasetNotFoundError) as caught:
        UCF101(tmp_path)
    for text in ("classInd.txt", str(tmp_path / "ucfTrainTestlist"), "crcv.ucf.edu", "--data.annotations"):
        assert text in str(caught.value)


def test_a_list_of_the_split_that_is_not_there_is_named(root):
    (root / "ucfTrainTestlist" / "testlist02.txt").unlink()
    with pytest.raises(DatasetNotFoundError, match=r"no annotation file testlist02\.txt"):
        ready(root, split=2)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("classInd.txt", b"1 Archery\n3 Diving\n", r"classInd\.txt, line 2: '3 Diving' is not class 2"),
        ("classInd.txt", b"\n", r"classInd\.txt is empty"),
        ("trainlist01.txt", b"Archery/v_Archery_g08_c01.avi 2\nvideo.avi 1\n", "line 2: 'video.avi 1'"),
        ("trainlist01.txt", b"\xff\xfe\x00", r"trainlist01\.txt is not text"),
    ],
)
def test_a_damaged_list_is_named_with_the_line(root, name, content, message):
    (root / "ucfTrainTestlist" / name).write_bytes(content)
    with pytest.raises(DatasetError, match=message):
        ready(root)


def test_a_class_of_one_group_cannot_be_divided(root):
    lines = [f"Archery/v_Archery_g08_c{clip:02d}.avi 2" for clip in (1, 2)]
    write_lines(root / "ucfTrainTestlist" / "trainlist01.txt", lines)
    with pytest.raises(DatasetMismatchError, match="class 'Archery' come from one recording"):
        ready(root)
    assert len(ready(root, val_fraction=0).names["train"]) == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": 4}, "split=4 is not supported; choose one of 1, 2, 3"),
        ({"val_fraction": 1.0}, r"val_fraction=1\.0 must be in"),
        ({"val_fraction": -0.1}, "must be in"),
        ({"on_missing": "ignore"}, "choose one of 'warn', 'raise'"),
    ],
)
def test_options_out_of_range_are_refused(root, options, message):
    with pytest.raises(ValueError, match=message):
        UCF101(root, **data_options(options))


def test_nothing_is_logged_as_a_warning_where_nothing_is_wrong(root, clips, caplog, monkeypatch):
    clips.put(root / "UCF-101" / "Archery" / "v_Archery_g01_c02.avi")
    monkeypatch.setattr("cvr_lightning.datamodules.ucf101.PUBLISHED", {1: (18, 6)})
    caplog.set_level(logging.INFO)
    ready(root)
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
