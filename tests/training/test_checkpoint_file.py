"""Checkpoints that declare more than they hold are refused before any of it is allocated."""

from __future__ import annotations

import io
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from cvr_lightning.datamodules.sampling import ClipSampling
from cvr_lightning.errors import CheckpointError
from cvr_lightning.inference.classify import Classifier
from cvr_lightning.models import CompressedVideoRecognizer
from cvr_lightning.training.checkpoint import read_checkpoint
from cvr_lightning.training.checkpoint_schema import FORMAT

ARCHITECTURE = {"num_classes": 3, "preset": "tiny", "residual_channels": 24}


def contents(**changes: Any) -> dict[str, Any]:
    """What `cvr fit` writes, as far as a label needs it."""
    recognizer = CompressedVideoRecognizer(**ARCHITECTURE)
    about = {
        "format": FORMAT,
        "architecture": ARCHITECTURE,
        "class_names": ["a", "b", "c"],
        "averaging": "softmax",
        "sampling": ClipSampling().to_dict(),
        "versions": {"cvr_lightning": "0.1.0"},
        "config": {},
    }
    weights = {f"recognizer.{name}": tensor for name, tensor in recognizer.state_dict().items()}
    return {"state_dict": weights, "cvr_lightning": about | changes}


def saved(path: Path, checkpoint: object) -> Path:
    torch.save(checkpoint, path)
    return path


def rewritten(
    path: Path, change: Callable[[str, bytes], bytes], compression: int = zipfile.ZIP_STORED
) -> Path:
    """The zip file with its members changed."""
    with zipfile.ZipFile(path) as file:
        members = [(name, file.read(name)) for name in file.namelist()]
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, data in members:
            file.writestr(name, change(name, data))
    return path


@pytest.mark.parametrize("version", [None, 0, FORMAT + 1, True, "1"])
def test_a_checkpoint_of_another_version_is_refused_with_one_sentence(tmp_path: Path, version: Any) -> None:
    path = saved(tmp_path / "a.ckpt", contents(format=version, architecture={"without": []}))
    with pytest.raises(CheckpointError) as refused:
        read_checkpoint(path)
    assert str(refused.value) == (
        f"{path}: written by another version of cvr_lightning (this one reads format {FORMAT}); train again"
    )


def test_a_sound_checkpoint_is_read(tmp_path):
    classifier = Classifier.from_checkpoint(saved(tmp_path / "a.ckpt", contents()))
    assert classifier.class_names == ("a", "b", "c")


def test_a_compressed_checkpoint_is_refused(tmp_path):
    checkpoint = contents() | {"zeros": torch.zeros(50_000_000)}
    path = rewritten(saved(tmp_path / "a.ckpt", checkpoint), lambda _, data: data, zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 5_000_000
    with pytest.raises(CheckpointError, match="declare more bytes than the file has"):
        read_checkpoint(path)


@pytest.mark.parametrize(
    "bomb",
    [
        torch.zeros(1).expand(10_000_000_000),
        torch.zeros(8).as_strided((1 << 20, 1 << 20), (0, 0)),
        {"deep": [torch.zeros(2, 1).expand(2, 1 << 40)]},
    ],
)
def test_an_expanded_tensor_is_refused_wherever_it_lies(tmp_path, bomb):
    with pytest.raises(CheckpointError, match="a tensor of shape"):
        read_checkpoint(saved(tmp_path / "a.ckpt", contents() | {"optimizer_states": bomb}))


def test_tensors_that_share_their_data_thousands_of_times_are_refused(tmp_path):
    data = torch.zeros(100_000)
    copies = {str(number): data.view(100_000) for number in range(5000)}
    with pytest.raises(CheckpointError, match="a tensor of shape"):
        read_checkpoint(saved(tmp_path / "a.ckpt", contents() | {"optimizer_states": copies}))


def test_an_error_of_torch_without_a_text_is_named_by_its_type(tmp_path, monkeypatch):
    def fails(*_: Any, **__: Any) -> None:
        raise RuntimeError

    path = saved(tmp_path / "a.ckpt", contents())
    monkeypatch.setattr(torch, "load", fails)
    with pytest.raises(CheckpointError, match=r"not a readable checkpoint \(RuntimeError\)"):
        read_checkpoint(path)


def test_a_truncated_storage_is_refused(tmp_path):
    path = rewritten(
        saved(tmp_path / "a.ckpt", contents()),
        lambda name, data: data[:4] if name.endswith("/data/0") else data,
    )
    with pytest.raises(CheckpointError, match="in 4 bytes"):
        read_checkpoint(path)


class _Call:
    """Pickles as a call of a function that torch lets through."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call


@pytest.mark.parametrize("call", [_Call(bytearray, 10**11), _Call(torch.FloatTensor, 10**10), _Call(set, ())])
def test_a_function_that_allocates_is_not_called(tmp_path, call):
    def change(name: str, data: bytes) -> bytes:
        return pickle.dumps({"state_dict": call}, protocol=2) if name.endswith("/data.pkl") else data

    path = rewritten(saved(tmp_path / "a.ckpt", contents()), change)
    with pytest.raises(CheckpointError, match="holds more than weights and plain values"):
        read_checkpoint(path)


def test_values_that_repeat_each_other_without_end_are_refused(tmp_path):
    values: list[Any] = []
    for _ in range(60):
        values = [values, values]
    with pytest.raises(CheckpointError, match="more than 1,000,000 values"):
        read_checkpoint(saved(tmp_path / "a.ckpt", contents() | {"callbacks": values}))


def test_too_many_values_are_refused_with_how_to_allow_them(tmp_path, monkeypatch):
    path = saved(tmp_path / "a.ckpt", contents() | {"callbacks": "x" * (9 << 20)})
    with pytest.raises(CheckpointError, match="set CVR_MAX_PICKLE_BYTES="):
        read_checkpoint(path)
    monkeypatch.setenv("CVR_MAX_PICKLE_BYTES", str(10 << 20))
    read_checkpoint(path)


@pytest.mark.parametrize(
    "change",
    [
        {"architecture": ARCHITECTURE | {"residual_channels": 10**9}},
        {"architecture": ARCHITECTURE | {"num_classes": 10**9}},
        {"architecture": ARCHITECTURE | {"preset": "base"}},
        {"class_names": ["a"]},
    ],
)
def test_a_model_of_another_size_than_its_weights_is_not_built(tmp_path, change):
    with pytest.raises(CheckpointError, match="another architecture"):
        Classifier.from_checkpoint(saved(tmp_path / "a.ckpt", contents(**change)))


def test_as_many_views_as_a_checkpoint_asks_for_are_not_read(tmp_path):
    endless = ClipSampling().to_dict() | {"views": 10**9}
    with pytest.raises(CheckpointError, match="views=1000000000 must be at most 1000"):
        Classifier.from_checkpoint(saved(tmp_path / "a.ckpt", contents(sampling=endless)))


def test_a_clip_of_any_size_is_not_read_because_a_checkpoint_asks_for_it(tmp_path):
    huge = ClipSampling().to_dict() | {"size": [1 << 16, 1 << 16]}
    with pytest.raises(CheckpointError, match="set CVR_MAX_CLIP_PIXELS="):
        Classifier.from_checkpoint(saved(tmp_path / "a.ckpt", contents(sampling=huge)))


def test_a_preparation_of_any_size_is_not_done_because_a_checkpoint_asks_for_it(tmp_path):
    recipe = {"size": None, "short_side": 8190, "gop": 600}
    huge = ClipSampling().to_dict() | {"segments": 1, "pframes": 1, "recipe": recipe}
    with pytest.raises(CheckpointError, match="set CVR_MAX_PREPARED_PIXELS="):
        Classifier.from_checkpoint(saved(tmp_path / "a.ckpt", contents(sampling=huge)))


@pytest.mark.parametrize("data", [b"", b"PK\x05\x06" + bytes(18), pickle.dumps({"a": 1}), b"text\n"])
def test_a_file_that_is_not_a_checkpoint_is_refused(tmp_path, data):
    path = tmp_path / "a.ckpt"
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match="it was not written by torch"):
        read_checkpoint(path)


def test_a_pickle_in_a_zip_is_not_executed(tmp_path):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        file.writestr("a/data.pkl", pickle.dumps(_Call(print, "executed"), protocol=2))
    (tmp_path / "a.ckpt").write_bytes(content.getvalue())
    with pytest.raises(CheckpointError, match=r"more than weights and plain values"):
        read_checkpoint(tmp_path / "a.ckpt")
