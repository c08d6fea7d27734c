"""Classifiers as folders of weights and JSON."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.factories import make_clip
from helpers.own_model import MotionNet
from safetensors.torch import load_file, save_file

from cvr_lightning.datamodules.sampling import ClipSampling
from cvr_lightning.errors import CheckpointError, WeightsError
from cvr_lightning.inference.classify import Classifier
from cvr_lightning.models import CompressedVideoRecognizer

SAMPLING = ClipSampling(segments=2, pframes=2, size=(64, 88), crop=64, coefficients=(4, 1))
NAMES = ["jump", "run", "wave"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    model = CompressedVideoRecognizer(3, residual_channels=6, ablate=["modulation"])
    Classifier(model, NAMES, SAMPLING, "logits").save_pretrained(tmp_path / "a" / "model")
    return tmp_path / "a" / "model"


def change(folder: Path, **values: Any) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["cvr_lightning"].update(values)
    (folder / "config.json").write_text(json.dumps(config))


def test_a_folder_gives_the_same_classifier(folder: Path) -> None:
    torch.manual_seed(0)
    saved = CompressedVideoRecognizer(3, residual_channels=6, ablate=["modulation"]).eval()
    loaded = Classifier.from_pretrained(folder)
    clip = make_clip()
    assert torch.equal(loaded.recognizer(clip), saved(clip))
    assert (list(loaded.class_names), loaded.sampling, loaded.averaging) == (NAMES, SAMPLING, "logits")
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors"]


def test_a_custom_model_is_given_again(tmp_path: Path) -> None:
    model = MotionNet(3)
    model.layers[0].weight.data = model.layers[0].weight.data.t().contiguous().t()  # not contiguous
    Classifier(model, NAMES, SAMPLING).save_pretrained(tmp_path)
    loaded = Classifier.from_pretrained(tmp_path, model=MotionNet(3)).recognizer.state_dict()
    assert all(torch.equal(tensor, loaded[name]) for name, tensor in model.state_dict().items())
    with pytest.raises(CheckpointError, match="a model of your own, 'MotionNet'"):
        Classifier.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    "values",
    [
        {"on_load": "import os"},
        {"averaging": 1},
        {"architecture": {"preset": {"class_path": "os.system"}}},
        {"sampling": {"parser": ["x"]}},
        {"config": {"trainer": {"plugins": ["x"]}}},
    ],
)
def test_what_a_checkpoint_may_not_hold_is_refused(folder: Path, values: dict[str, Any]) -> None:
    change(folder, **values)
    with pytest.raises(CheckpointError, match=r"config\.json: refused: a checkpoint may not contain"):
        Classifier.from_pretrained(folder)


def test_another_architecture_than_the_weights_is_refused(folder: Path) -> None:
    change(folder, class_names=["jump", "run"])
    with pytest.raises(CheckpointError, match="another architecture"):
        Classifier.from_pretrained(folder)


@pytest.mark.parametrize("text", ["", "[]", "{}", "[" * 100_000, '{"cvr_lightning": 3}'])
def test_a_config_that_is_none_is_refused(folder: Path, text: str) -> None:
    (folder / "config.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"config\.json: "):
        Classifier.from_pretrained(folder)


def test_damaged_weights_are_refused(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(WeightsError, match="not a valid safetensors file"):
        Classifier.from_pretrained(folder)
    weights.unlink()
    with pytest.raises(WeightsError, match=r"model\.safetensors: no such file"):
        Classifier.from_pretrained(folder)


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.complex64, torch.float8_e4m3fn])
def test_weights_of_another_type_are_refused(folder: Path, dtype: torch.dtype) -> None:
    path = folder / "model.safetensors"
    weights = load_file(path)
    name = next(name for name, tensor in weights.items() if tensor.ndim > 1)
    try:
        save_file({**weights, name: weights[name].to(dtype)}, path)
    except KeyError:
        pytest.skip(f"this release of safetensors does not write {dtype}")
    with pytest.raises(CheckpointError, match=r"another architecture|stored in an unsupported way"):
        Classifier.from_pretrained(folder)


def test_weights_of_an_unknown_type_are_refused(folder: Path) -> None:
    header = json.dumps({"weight": {"dtype": "X9", "shape": [1], "data_offsets": [0, 4]}}).encode()
    (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
    with pytest.raises(WeightsError, match="not a valid safetensors file"):
        Classifier.from_pretrained(folder)


def test_weights_that_diverged_are_refused(tmp_path: Path) -> None:
    model = MotionNet(3)
    model.layers[0].weight.data[0, 0] = torch.nan
    Classifier(model, NAMES, SAMPLING).save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match=r"layers\.0\.weight contains NaN"):
        Classifier.from_pretrained(tmp_path, model=MotionNet(3))


def test_a_missing_folder_is_not_looked_up_on_the_hub(tmp_path: Path) -> None:
    expected = f"{tmp_path}/none: no such folder; give a folder of Classifier.save_pretrained, or hub:"
    with pytest.raises(CheckpointError, match=re.escape(expected)):
        Classifier.from_pretrained(tmp_path / "none")


def test_the_hub_needs_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(WeightsError, match="huggingface_hub is not installed; pip install"):
        Classifier.from_pretrained("hub:somebody/model")


def test_a_repository_of_the_hub_is_read_like_a_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Hub:
        @staticmethod
        def hf_hub_download(repository: str, name: str, revision: str | None) -> str:
            assert (repository, revision) == ("somebody/model", "v1")
            return str(folder / name)

    monkeypatch.setitem(sys.modules, "huggingface_hub", Hub)
    assert list(Classifier.from_pretrained("hub:somebody/model@v1").class_names) == NAMES
