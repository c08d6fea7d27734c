"""Kinetics: the annotation files and folders that are around, classes numbered by one rule."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.factories import data_options
from helpers.tiny_datasets import KINETICS_VIDEOS, kinetics_file, write_kinetics, write_lines

from cvr_lightning.datamodules import Kinetics400, Kinetics600
from cvr_lightning.datamodules.errors import DatasetError, DatasetMismatchError, DatasetNotFoundError

CLASSES = ["air drumming", "hurling (sport)", "massaging person's head", "riding or walking with horse"]
CSV_HEADER = "label,youtube_id,time_start,time_end,split"


@pytest.fixture
def root(tmp_path, clips) -> Path:
    return write_kinetics(tmp_path / "k400", clips)


def ready(root: Path, **options: object) -> Kinetics400:
    data = Kinetics400(root, **data_options(options))
    data.setup()
    return data


def labeled(data: Kinetics400, subset: str) -> dict[str, str]:
    """Class of each video by file name."""
    pairs = zip(data.videos[subset].names, data.videos[subset].labels, strict=True)
    return {name.rpartition("/")[2]: data.class_names[label] for name, label in pairs}


def expected(subset: str) -> dict[str, str]:
    return {
        f"{kinetics_file(video)}.mp4": label
        for label, videos in KINETICS_VIDEOS[subset].items()
        for video in videos
        if video != "-ccccccccc2"
    }


@pytest.mark.parametrize("layout", ["blanks", "underscores", "torchvision", "flat"])
def test_every_layout_gives_the_same_videos_and_labels(tmp_path, clips, layout):
    data = ready(write_kinetics(tmp_path / "k400", clips, layout))
    assert data.class_names == CLASSES
    for subset in ("train", "val"):
        assert labeled(data, subset) == expected(subset)
    assert data.videos["test"] is data.videos["val"]
    assert (data.protocol["dataset"], data.protocol["subset"]) == ("Kinetics400", "val")
    assert data.missing == {"train": [], "val": [f"massaging person's head/{kinetics_file('-ccccccccc2')}"]}


def test_ids_that_differ_in_case_alone_are_two_videos(root):
    labels = labeled(ready(root), "train")
    assert labels["abC0123defg_000040_000050.mp4"] == "air drumming"
    assert "abc0123DEFG_000040_000050.mp4" not in labels


def test_class_names_sort_with_blanks_in_them(root):
    # With _ for blanks "side kick" comes after "sidekick", with blanks before it.
    for subset in ("train", "val"):
        lines = [f"side kick,a{subset},0,10,{subset}", f"side_kick,b{subset},0,10,{subset}"]
        lines += [f"sideKick,c{subset},0,10,{subset}", f'"side kick",d{subset},0,10,{subset}']
        write_lines(root / "annotations" / f"{subset}.csv", [CSV_HEADER, *lines])
    assert Kinetics400(root).class_names == ["side kick", "sideKick"]


@pytest.mark.parametrize(
    ("folder", "train", "val"),
    [
        ("annotations", "kinetics_train.csv", "kinetics_val.csv"),
        ("annotations", "kinetics-400_train.csv", "kinetics-400_val.csv"),
        ("annotations", "k400_train.csv", "k400_validation.csv"),
        (".", "train.csv", "validate.csv"),
    ],
)
def test_csvs_go_by_several_names(root, folder, train, val):
    for subset, name in (("train", train), ("val", val)):
        (root / "annotations" / f"{subset}.csv").rename(root / folder / name)
    assert labeled(ready(root), "val") == expected("val")


def test_seconds_may_be_decimals_and_a_byte_order_mark_may_come_first(root):
    file = root / "annotations" / "val.csv"
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes().replace(b",40,50,", b",40.0,50.0,"))
    assert labeled(ready(root), "val") == expected("val")


def number_lists(root: Path, names: dict[str, str], form: str) -> None:
    """Replace the CSVs by lists of '<path> <number>', classes numbered against the alphabet."""
    classes = sorted(CLASSES, reverse=True)
    for subset, name in names.items():
        (root / "annotations" / f"{subset}.csv").unlink()
        lines = [
            form.format(subset=subset, folder=label.replace(" ", "_"), video=kinetics_file(video))
            + f" {classes.index(label)}"
            for label, videos in KINETICS_VIDEOS[subset].items()
            for video in videos
        ]
        write_lines(root / name, lines)


def test_lists_of_mmaction2_keep_their_numbers_and_name_classes_by_folders(tmp_path, clips):
    root = write_kinetics(tmp_path / "k400", clips, "underscores")
    names = {subset: f"kinetics400_{subset}_list_videos.txt" for subset in ("train", "val")}
    number_lists(root, names, "{folder}/{video}.mp4")
    data = ready(root)
    assert data.class_names == sorted(CLASSES, reverse=True)
    assert labeled(data, "train") == expected("train")


def test_lists_of_slowfast_and_videomae_name_classes_by_number(tmp_path, clips):
    root = write_kinetics(tmp_path / "k400", clips, "flat")
    number_lists(root, {"train": "train.csv", "val": "val.csv"}, "/old/disk/{subset}/{video}.mp4")
    data = ready(root)
    assert data.class_names == ["0", "1", "2", "3"]
    classes = sorted(CLASSES, reverse=True)
    assert labeled(data, "val") == {
        name: str(classes.index(label)) for name, label in expected("val").items()
    }


def test_the_test_subset_can_be_read_without_labels(root):
    data = ready(root, test_subset="test")
    assert data.names["test"] == (
        "test/-test000000_000000_000010.mp4",
        "test/test0000001_000007_000017.mp4",
    )
    assert list(data.videos["test"].labels) == [-1, -1]
    assert data.class_names == CLASSES
    assert labeled(data, "val") == expected("val")
    assert data.protocol["subset"] == "test"


def test_a_label_that_only_the_test_subset_has_is_refused(root):
    write_lines(root / "annotations" / "test.csv", [CSV_HEADER, "zumba,x,0,10,test"])
    with pytest.raises(DatasetMismatchError, match="class 'zumba' of test is not among the classes"):
        Kinetics400(root, test_subset="test")


def test_missing_annotations_are_named_with_their_source(root):
    (root / "annotations" / "val.csv").unlink()
    with pytest.raises(DatasetNotFoundError) as caught:
        Kinetics600(root)
    for text in (
        "Kinetics600",
        "val.csv",
        "validate.csv",
        "s3.amazonaws.com/kinetics/600/annotations/val.csv",
    ):
        assert text in str(caught.value)


@pytest.mark.parametrize(
    ("lines", "error", "message"),
    [
        ([], DatasetError, "train.csv is empty"),
        ([CSV_HEADER, "zumba,abc,0,10,val"], DatasetMismatchError, "line 2: split 'val' among .* of train"),
        (
            [CSV_HEADER, "zumba,abc,zero,10,train"],
            DatasetError,
            "line 2: .* is not a line of label,youtube_id",
        ),
        ([CSV_HEADER, "zumba"], DatasetError, "line 2: 'zumba' is not a line of"),
        ([CSV_HEADER, ",abc,0,10,train"], DatasetError, "is not a line with a label"),
        (
            ["zumba/abc.mp4 0", "zumba/def.mp4"],
            DatasetError,
            "line 2: 'zumba/def.mp4' is not '<path> <number>'",
        ),
        (["zumba/abc.mp4 0"], DatasetMismatchError, "class names, another numbers"),
    ],
)
def test_an_annotation_file_of_another_format_is_named(root, lines, error, message):
    write_lines(root / "annotations" / "train.csv", lines)
    with pytest.raises(error, match=message):
        Kinetics400(root)


def test_the_annotations_of_a_larger_release_are_refused(root):
    lines = [f"class {i:03d},id{i},0,10,train" for i in range(401)]
    write_lines(root / "annotations" / "train.csv", [CSV_HEADER, *lines])
    with pytest.raises(DatasetMismatchError, match="have 405 classes, Kinetics400 has 400"):
        Kinetics400(root)
    assert Kinetics600(root).num_classes == 405


def test_a_line_that_comes_twice_counts_once(root, caplog):
    file = root / "annotations" / "val.csv"
    lines = file.read_text().splitlines()
    write_lines(file, [*lines, lines[1]])
    data = ready(root)
    assert len(set(data.names["val"])) == len(data.names["val"]) == 5
    assert "1 duplicate lines ignored" in caplog.text
