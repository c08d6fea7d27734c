"""What all published data sets do about missing, damaged and misplaced videos."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import pytest
from helpers.factories import data_options
from helpers.tiny_datasets import damage, write_kinetics, write_ucf101
from lightning import Trainer

from cvr_lightning.codec.errors import UnreadableVideoError
from cvr_lightning.datamodules import UCF101, Kinetics400
from cvr_lightning.datamodules.errors import DatasetNotFoundError

MISSING = "Archery/v_Archery_g01_c02.avi"
SMALL = {"segments": 2, "pframes": 2, "size": (64, 88), "crop": 64, "num_workers": 0}


@pytest.fixture
def ucf(tmp_path, clips) -> Path:
    return write_ucf101(tmp_path / "ucf", clips)


def attached(data: UCF101, run: Path) -> UCF101:
    data.trainer = Trainer(default_root_dir=run, logger=False, accelerator="cpu", enable_progress_bar=False)
    return data


def test_each_subset_has_a_line_with_its_counts(ucf, caplog):
    caplog.set_level(logging.INFO)
    UCF101(ucf).setup()
    assert f"UCF101 train: 12 of 12 videos in {ucf / 'UCF-101'}" in caplog.text
    assert f"UCF101 test: 5 of 6 videos in {ucf / 'UCF-101'}; missing: {MISSING}" in caplog.text


def test_all_missing_names_go_to_a_file_of_the_run(ucf, tmp_path, caplog):
    for path in ucf.glob("UCF-101/Archery/*_g01_*"):
        path.unlink()
    for path in ucf.glob("UCF-101/HandstandPushups/*_g01_*"):
        path.unlink()
    data = attached(UCF101(ucf), tmp_path / "run")
    data.setup()
    file = tmp_path / "run" / "missing_test.txt"
    assert file.read_text().splitlines() == data.missing["test"]
    assert len(data.missing["test"]) == 4
    assert f"2 of 6 videos in {ucf / 'UCF-101'}; missing: Archery/v_Archery_g01_c01.avi, " in caplog.text
    assert f", ... (all names: {file})" in caplog.text
    assert not (tmp_path / "run" / "missing_train.txt").exists()


def test_a_run_directory_that_cannot_be_written_to_does_not_stop_the_run(ucf, tmp_path, caplog):
    (tmp_path / "run").write_text("a file where the folder should be")
    attached(UCF101(ucf), tmp_path / "run").setup()
    assert caplog.text.rstrip().endswith(f"missing: {MISSING}")


def test_a_missing_video_can_stop_the_run(ucf):
    with pytest.raises(
        DatasetNotFoundError, match=f"1 of the listed videos are missing, first of test: {MISSING}"
    ):
        UCF101(ucf, on_missing="raise").setup()


def test_a_root_without_any_of_the_videos_is_refused_with_the_layout(ucf):
    shutil.rmtree(ucf / "UCF-101")
    with pytest.raises(DatasetNotFoundError) as caught:
        UCF101(ucf).setup()
    for part in ("none of the 24 listed videos", str(ucf), "<root>/UCF-101/<class>/<video>", "--data.root"):
        assert part in str(caught.value)


def test_a_root_that_is_not_a_folder_is_refused(ucf, tmp_path):
    with pytest.raises(DatasetNotFoundError, match="the folder does not exist"):
        UCF101(tmp_path / "nowhere", annotations=ucf / "ucfTrainTestlist").setup()


def test_one_subset_is_enough_if_no_other_is_needed(tmp_path, clips):
    root = write_kinetics(tmp_path / "k400", clips)
    shutil.rmtree(root / "train")
    data = Kinetics400(root, **data_options(SMALL, on_error="skip"))
    assert sum(len(batch) for batch in data.test_dataloader()) == 4
    with pytest.raises(DatasetNotFoundError, match="none of the videos of the train subset is in"):
        data.train_dataloader()


def test_a_damaged_video_is_named_and_can_be_left_out(tmp_path, clips):
    root = write_kinetics(tmp_path / "k400", clips)
    name = "val/air_drumming/abc0123DEFG_000040_000050.mp4"
    with pytest.raises(UnreadableVideoError, match=rf"{name}: .*; fetch or encode the file again"):
        list(Kinetics400(root, **data_options(SMALL)).val_dataloader())
    batches = list(Kinetics400(root, **data_options(SMALL, on_error="skip")).val_dataloader())
    assert sum(len(batch.unreadable) for batch in batches) == 1
    assert sum(len(batch) for batch in batches) == 4


def test_damage_to_the_first_video_is_left_to_on_error(ucf):
    damage(ucf / "UCF-101" / "ApplyEyeMakeup" / "v_ApplyEyeMakeup_g02_c01.avi")
    data = UCF101(ucf, **data_options(SMALL, val_fraction=0, on_error="skip"))
    data.setup()
    assert data.names["train"][0].endswith("v_ApplyEyeMakeup_g02_c01.avi")
    assert sum(len(batch.unreadable) for batch in data.train_dataloader()) == 1
