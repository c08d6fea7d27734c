"""Limits: larger files are refused, and the message says how to allow them."""

from __future__ import annotations

import io
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest

from cvr_lightning.datamodules.kinetics import Kinetics400
from cvr_lightning.errors import RunError, UserError
from cvr_lightning.evaluation.score_file import ScoreFile
from cvr_lightning.files.bounds import INDEX_BYTES, TEXT_BYTES, decompress, parse_json, read_arrays, read_text


def scores(folder: Path, **changes: object) -> Path:
    arrays = {
        "video": np.array(["a.avi", "b.avi"]),
        "label": np.array([0, 1]),
        "views": np.ones(2, np.int64),
        "logits": np.zeros((2, 2), np.float32),
        "probabilities": np.zeros((2, 2), np.float32),
        "class_names": np.array(["a", "b"]),
        "unreadable": np.array([], np.str_),
    }
    np.savez(folder / "scores.npz", **(arrays | changes))
    return folder


def test_scores_are_read_as_they_were_written(tmp_path):
    found = ScoreFile.read(scores(tmp_path, logits=np.asfortranarray([[1, 2], [3, 4]], np.float32)))
    assert found.logits.tolist() == [[1, 2], [3, 4]]
    assert found.unreadable.shape == (0,)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label": np.array([0, 2])}, "labels from 0 to 2 of 2 classes"),
        ({"label": np.array([0.0, 1.0])}, "label is float64"),
        ({"views": np.ones((2, 1), np.int64)}, "views is int64 of shape"),
        ({"class_names": np.array([b"a", b"b"])}, "class_names is"),
        ({"logits": np.array([[0, np.nan], [0, 0]], np.float32)}, "scores that are not finite"),
        ({"video": np.array([{"a": 1}, None], dtype=object)}, "header says"),
    ],
)
def test_scores_of_another_form_are_refused(tmp_path, change, message):
    with pytest.raises(RunError, match=message):
        ScoreFile.read(scores(tmp_path, **change))


def test_a_small_file_of_a_gigabyte_is_refused(tmp_path):
    content = io.BytesIO()
    np.lib.format.write_array(content, np.zeros(300 << 20, np.uint8))
    with zipfile.ZipFile(tmp_path / "scores.npz", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("video.npy", content.getvalue())
    assert (tmp_path / "scores.npz").stat().st_size < 1 << 20
    with pytest.raises(RunError, match=r"scores\.npz: .* set CVR_MAX_ARRAY_BYTES="):
        ScoreFile.read(tmp_path)


def test_an_array_that_declares_more_than_it_holds_is_refused(tmp_path):
    header = io.BytesIO()
    shape = {"descr": "<f8", "fortran_order": False, "shape": (1 << 40,)}
    np.lib.format.write_array_header_1_0(header, shape)
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as file:
        file.writestr("a.npy", header.getvalue() + bytes(8))
    with pytest.raises(ValueError, match="8 bytes where its header says"):
        read_arrays(tmp_path / "a.npz")


def test_a_list_with_a_class_of_ten_digits_is_refused(tmp_path):
    (tmp_path / "train.csv").write_text("a/b.mp4 2000000000\n")
    (tmp_path / "val.csv").write_text("a/b.mp4 0\n")
    with pytest.raises(UserError, match=r"line 1: .*2000000000"):
        Kinetics400(tmp_path)
    (tmp_path / "train.csv").write_text("a/b.mp4 900000000\n")
    with pytest.raises(UserError, match="have 900000001 classes, Kinetics400 has 400"):
        Kinetics400(tmp_path)


def test_compressed_data_are_only_expanded_to_the_limit():
    assert decompress(zlib.compress(b"abc"), INDEX_BYTES) == b"abc"
    for bad in (
        zlib.compress(bytes(INDEX_BYTES.value + 1)),
        zlib.compress(b"abc")[:-1],
        zlib.compress(b"") + b"x",
    ):
        with pytest.raises(ValueError, match=r"limit|truncated"):
            decompress(bad, INDEX_BYTES)


def test_a_text_that_is_too_long_or_too_deep_is_refused(tmp_path, monkeypatch):
    (tmp_path / "a.txt").write_text("12345")
    monkeypatch.setenv(TEXT_BYTES.variable, "4")
    with pytest.raises(ValueError, match="5 bytes of text exceed the limit of 4; set CVR_MAX_TEXT_BYTES=5"):
        read_text(tmp_path / "a.txt")
    monkeypatch.delenv(TEXT_BYTES.variable)
    with pytest.raises(ValueError, match="nested too deeply"):
        parse_json("[" * 100_000)


@pytest.mark.parametrize("text", ["", "many", "-1", "0", "1.5"])
def test_a_limit_that_is_not_a_number_is_refused(monkeypatch, text):
    monkeypatch.setenv(TEXT_BYTES.variable, text)
    with pytest.raises(RunError, match="CVR_MAX_TEXT_BYTES="):
        parse_json("{}")
