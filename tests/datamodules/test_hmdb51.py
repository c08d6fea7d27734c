"""HMDB-51: uses 0, 1 and 2, names of any characters, two ways to number the classes."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.factories import data_options
from helpers.tiny_datasets import HMDB51_VIDEOS, write_hmdb51

from cvr_lightning.datamodules import HMDB51
from cvr_lightning.datamodules.annotations import Listed
from cvr_lightning.datamodules.errors import DatasetError, DatasetMismatchError, DatasetNotFoundError
from cvr_lightning.datamodules.hmdb51 import COVIAR_ORDER


@pytest.fixture
def root(tmp_path, clips) -> Path:
    return write_hmdb51(tmp_path / "hmdb", clips)


def ready(root: Path, **options: object) -> HMDB51:
    data = HMDB51(root, **data_options(options))
    data.setup()
    return data


def listed(use: int) -> set[str]:
    return {
        f"{kind}/{name}.avi"
        for kind, videos in HMDB51_VIDEOS.items()
        for name, value in videos
        if value == use
    }


def test_each_name_is_found_and_unused_ones_are_left_out(root):
    data = ready(root)
    assert set(data.names["train"]) | set(data.names["val"]) == listed(1)
    assert set(data.names["test"]) == listed(2)
    assert all((root / name).is_file() for names in data.names.values() for name in names)
    assert (data.protocol["dataset"], data.protocol["split"], data.protocol["subset"]) == (
        "HMDB51",
        1,
        "test",
    )


def test_validation_takes_whole_films(root):
    data = ready(root)
    assert len(data.names["val"]) == 3
    films_of_two = ("NEW_AUDIO", "#20_Rhythm", "YouTube_smiles!")
    assert not any(film in name for name in data.names["val"] for film in films_of_two)


@pytest.mark.parametrize(
    ("name", "film"),
    [
        ("smile/The_Matrix_2_smile_h_nm_np1_fr_goo_2.avi", "The_Matrix_2"),
        ("smile/my_smile_smile_smile_u_cm_np10_le_bad_17.avi", "my_smile_smile"),
        ("smile/holiday.avi", "holiday"),
    ],
)
def test_the_film_is_what_precedes_class_and_properties(root, name, film):
    data = HMDB51(root)
    assert data.recording(Listed(name, data.class_names.index("smile"))) == film


def test_classes_are_the_sorted_names_or_those_of_coviar(root):
    plain, coviar = ready(root), ready(root, class_order="coviar")
    assert plain.class_names == sorted(plain.class_names)
    assert sorted(coviar.class_names) == plain.class_names
    assert len(set(coviar.class_names)) == 51
    # Lines of CoViAR's own list: "smile/Me_smiling_...avi smile 0" and so on.
    known = {"smile": 0, "clap": 1, "shake_hands": 9, "brush_hair": 33, "wave": 40, "talk": 50}
    assert {name: coviar.class_names.index(name) for name in known} == known
    for data in (plain, coviar):
        for name, label in zip(data.names["train"], data.videos["train"].labels, strict=True):
            assert data.class_names[label] == name.split("/")[0]
    assert plain.names == coviar.names
    assert coviar.class_names == list(COVIAR_ORDER)


def test_toolbox_folders_and_prepared_files(tmp_path, clips):
    root = write_hmdb51(tmp_path / "hmdb", clips, suffix=".mp4")
    (root / "testTrainMulti_7030_splits").rename(root / "annotations")
    (root / "videos").mkdir()
    for kind in HMDB51_VIDEOS:
        (root / kind).rename(root / "videos" / kind)
    data = ready(root, split=2)
    assert "videos/clap/Standing_clap_f_cm_np1_fr_med_0.mp4" in data.names["test"]
    assert len(data.names["test"]) == 4


def test_missing_lists_are_named_with_their_source(tmp_path):
    with pytest.raises(DatasetNotFoundError) as caught:
        HMDB51(tmp_path, split=3)
    for text in ("*_test_split3.txt", "testTrainMulti_7030_splits", "serre-lab.clps.brown.edu"):
        assert text in str(caught.value)


def test_a_list_of_no_class_and_a_line_without_a_use_are_named(root):
    lists = root / "testTrainMulti_7030_splits"
    (lists / "clap_test_split1.txt").write_text("x_clap_u_nm_np1_fr_med_0.avi 3 \n")
    with pytest.raises(DatasetError, match=r"clap_test_split1\.txt, line 1: .* is not '<video> 0', 1 or 2"):
        ready(root)
    (lists / "clap_test_split1.txt").rename(lists / "juggle_test_split1.txt")
    with pytest.raises(DatasetMismatchError, match="'juggle' is not among the 51 classes"):
        ready(root)


def test_lists_that_differ_from_the_published_ones_cause_a_warning(root, caplog):
    ready(root)
    assert "split 1, training lists 9 videos instead of the published 3570" in caplog.text
    assert "split 1, test lists 4 videos instead of the published 1530" in caplog.text


def test_an_unknown_class_order_is_refused(root):
    with pytest.raises(ValueError, match="choose one of 'alphabetical', 'coviar'"):
        HMDB51(root, class_order="random")
