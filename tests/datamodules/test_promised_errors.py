"""What is wrong with a data set as it lies on disk is said with file, cause and remedy, for each of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from helpers.factories import data_options
from helpers.tiny_datasets import Clips, damage, write_hmdb51, write_kinetics, write_ssv2, write_ucf101

from cvr_lightning.datamodules import (
    HMDB51,
    UCF101,
    CompressedVideoDataModule,
    Kinetics400,
    Kinetics600,
    SomethingSomethingV2,
)
from cvr_lightning.errors import UserError

SMALL = {"segments": 2, "pframes": 2, "size": (64, 88), "crop": 64, "num_workers": 0}
NO_VECTORS = "codec vp9: FFmpeg exports no motion vectors of it; prepare it: .*cvr prepare SRC DST"


class Case(NamedTuple):
    kind: Callable[..., CompressedVideoDataModule]
    write: Callable[[Path, Clips], Path]
    annotation: str
    named: str


CASES = {
    "UCF101": Case(UCF101, write_ucf101, "trainlist01.txt", "trainlist01.txt"),
    "HMDB51": Case(HMDB51, write_hmdb51, "*_test_split1.txt", "*_test_split1.txt"),
    "Kinetics400": Case(
        Kinetics400, write_kinetics, "train.csv", "train.csv or kinetics_train.csv (or 18 other names"
    ),
    "Kinetics600": Case(Kinetics600, write_kinetics, "val.csv", "val.csv or"),
    "SomethingSomethingV2": Case(
        SomethingSomethingV2, write_ssv2, "*-labels.json", "something-something-v2-labels.json or labels.json"
    ),
}


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    return CASES[request.param]


def read_first(case: Case, root: Path) -> None:
    data = case.kind(root, **data_options(SMALL))
    data.prepare_data()
    for batch in data.train_dataloader():
        assert len(batch)


def error_of(case: Case, root: Path) -> str:
    with pytest.raises(UserError) as error:
        read_first(case, root)
    return str(error.value)


def test_a_wrong_root_is_named(case: Case, tmp_path: Path) -> None:
    message = error_of(case, tmp_path / "nowhere")
    assert f"the folder {tmp_path / 'nowhere'} with annotation file " in message
    assert "solution: set --data.root to the folder of the data set" in message


def test_a_missing_annotation_file_is_named_with_its_source(case: Case, clips: Clips, tmp_path: Path) -> None:
    root = case.write(tmp_path / "data", clips)
    for file in root.rglob(case.annotation):
        file.unlink()
    message = error_of(case, root)
    assert f"{case.kind.__name__}: no annotation file {case.named}" in message
    assert f"searched: {root}" in message
    assert "solution: download the annotations from https://" in message
    assert len(message) < 900


def videos(root: Path) -> list[Path]:
    return sorted(path for path in root.rglob("*") if path.suffix in (".avi", ".mp4"))


def test_unprepared_vp9_is_refused(case: Case, clips: Clips, tmp_path: Path) -> None:
    root = case.write(tmp_path / "data", clips)
    for path in videos(root):
        path.unlink()
        clips.put(path.with_suffix(".webm"))
    with pytest.raises(UserError, match=rf"{tmp_path}/data/.*\.webm: {NO_VECTORS}"):
        read_first(case, root)


def test_a_corrupt_file_is_named(case: Case, clips: Clips, tmp_path: Path) -> None:
    root = case.write(tmp_path / "data", clips)
    data = case.kind(root, **data_options(SMALL))
    data.setup()
    broken = root / data.names["train"][0]
    damage(broken)
    message = error_of(case, root)
    cause = "FFmpeg cannot open it: Invalid data found when processing input"
    assert message == f"{broken}: {cause}; fetch or encode the file again, or leave it out"
