"""Something-Something V2: numbers as strings, templates with brackets, videos that must be prepared."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from helpers.factories import data_options
from helpers.tiny_datasets import SSV2_VIDEOS, write_ssv2

from cvr_lightning.codec.errors import UnsupportedStreamError
from cvr_lightning.datamodules import SomethingSomethingV2
from cvr_lightning.datamodules.errors import DatasetError, DatasetMismatchError, DatasetNotFoundError

CLASSES = [
    "Holding something next to something",
    "Moving something from left to right",
    "Moving something from right to left",
]


@pytest.fixture
def root(tmp_path, clips) -> Path:
    return write_ssv2(tmp_path / "ssv2", clips)


def ready(root: Path, **options: object) -> SomethingSomethingV2:
    data = SomethingSomethingV2(root, **data_options(options))
    data.setup()
    return data


@pytest.mark.parametrize("names", ["old", "new"])
@pytest.mark.parametrize("suffix", [".mp4", ".avi"])
def test_both_sets_of_names_and_any_container_are_read(tmp_path, clips, names, suffix):
    data = ready(write_ssv2(tmp_path / "ssv2", clips, suffix, names))
    assert data.class_names == CLASSES
    for subset, listed in (("train", "train"), ("val", "validation"), ("test", "validation")):
        assert {
            name: CLASSES[label]
            for name, label in zip(data.videos[subset].names, data.videos[subset].labels, strict=True)
        } == {
            f"20bn-something-something-v2/{video}{suffix}": template.replace("[", "").replace("]", "")
            for video, template in SSV2_VIDEOS[listed].items()
            if video != "220847"
        }
    assert data.missing == {"train": [], "val": ["220847"]}
    assert data.protocol["subset"] == "val"


def test_numbers_instead_of_strings_are_accepted(root):
    for name in ("labels", "train"):
        file = root / "annotations" / f"something-something-v2-{name}.json"
        content = json.loads(file.read_text())
        if name == "labels":
            content = {key: int(value) for key, value in content.items()}
        else:
            content = [entry | {"id": int(entry["id"])} for entry in content]
        file.write_text(json.dumps(content))
    assert len(ready(root).names["train"]) == 6


def test_left_and_right_are_labels_so_nothing_is_mirrored(root):
    assert not SomethingSomethingV2(root, **data_options(flip=True)).augmentation.flip
    with pytest.raises(
        ValueError, match="left and right are different classes of SomethingSomethingV2: use 5 crops"
    ):
        SomethingSomethingV2(root, **data_options(crops=10))


def test_unprepared_videos_are_refused_at_once_and_named_with_the_remedy(tmp_path, clips):
    data = SomethingSomethingV2(write_ssv2(tmp_path / "ssv2", clips, ".webm"), on_error="skip")
    with pytest.raises(
        UnsupportedStreamError, match=r"78687\.webm: codec vp9: .* no motion vectors.*prepare"
    ):
        data.setup()


def test_unprepared_videos_give_their_iframes(tmp_path, clips):
    data = ready(write_ssv2(tmp_path / "ssv2", clips, ".webm"), modalities=("iframes",), num_workers=0)
    batch = next(iter(data.val_dataloader()))
    assert batch.iframes.any()
    assert not batch.mask.any()


def test_unprepared_videos_give_decoded_frames_that_change_with_the_epoch(tmp_path, clips):
    root = write_ssv2(tmp_path / "ssv2", clips, ".webm")
    data = ready(root, representation="rgb", segments=3, num_workers=0, batch_size=6)
    batch = next(iter(data.val_dataloader())).validate()
    assert batch.iframes.shape == (3, 3, 3, 256, 340)
    assert batch.iframe_index.tolist() == [[0, 1, 2]] * 3
    assert not torch.equal(batch.iframes[0, 0], batch.iframes[0, 2])
    assert not batch.mask.any()
    assert (data.protocol["representation"], data.protocol["pframes"]) == ("rgb", 0)
    assert data.protocol["modalities"] == ["iframes"]
    loader = data.train_dataloader()
    first = next(iter(loader)).iframes
    loader.sampler.set_epoch(1)
    assert not torch.equal(next(iter(loader)).iframes, first)


def test_the_prepared_file_is_read_where_the_original_lies_beside_it(root, clips):
    clips.put(root / "20bn-something-something-v2" / "42326.webm")
    assert "20bn-something-something-v2/42326.mp4" in ready(root).names["train"]


def test_the_test_subset_has_no_labels(root):
    data = ready(root, test_subset="test")
    assert data.names["test"] == tuple(f"20bn-something-something-v2/{i}.mp4" for i in (1420, 1421))
    assert list(data.videos["test"].labels) == [-1, -1]
    assert len(data.names["val"]) == 3


def test_files_that_differ_from_the_published_ones_cause_a_warning(root, caplog):
    ready(root)
    assert "something-something-v2-train.json lists 6 videos instead of the published 168913" in caplog.text


def test_missing_annotations_are_named_with_their_source(tmp_path):
    with pytest.raises(DatasetNotFoundError) as caught:
        SomethingSomethingV2(tmp_path)
    for text in ("something-something-v2-labels.json or labels.json", "qualcomm.com", "--data.annotations"):
        assert text in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "error", "message"),
    [
        ("labels", "{", DatasetError, r"labels\.json is not readable JSON"),
        ("labels", "[]", DatasetError, r"labels\.json contains a list instead of a dict"),
        ("labels", '{"a": "0", "b": "2"}', DatasetError, r"not 0, 1, 2"),
        ("labels", '{"a": "first"}', DatasetError, r"not 0, 1, 2"),
        ("train", '[{"id": "1"}]', DatasetError, r"entry 1: .* is not an object with id and template"),
        ("train", '["1"]', DatasetError, r"entry 1: '1' is not an object"),
        (
            "train",
            '[{"id": "1", "template": "Eating [something]"}]',
            DatasetMismatchError,
            "template 'Eating something' of video 1 is not in the labels",
        ),
    ],
)
def test_a_damaged_file_is_named(root, name, content, error, message):
    (root / "annotations" / f"something-something-v2-{name}.json").write_text(content)
    with pytest.raises(error, match=message):
        ready(root)
