"""An exported graph gives the model's own logits, for any number of clips and of I-frames."""

import importlib.metadata
import importlib.util
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from helpers.encoders import encode

from cvr_lightning.clip import CompressedClip, Sample, collate
from cvr_lightning.datamodules.clips import read_clip
from cvr_lightning.datamodules.pipelines import EvalTransform
from cvr_lightning.datamodules.sampling import ClipSampling
from cvr_lightning.errors import CheckpointError
from cvr_lightning.inference import export
from cvr_lightning.inference.classify import Classifier
from cvr_lightning.inference.export import INPUTS, ExportError, export_model, random_inputs
from cvr_lightning.models import CompressedVideoRecognizer
from cvr_lightning.training.module import RecognitionModule

SAMPLING = ClipSampling(segments=2, pframes=2, size=(72, 104), crop=64, coefficients=(6, 2))
NAMES = ["a", "b", "c", "d", "e"]


@pytest.fixture(scope="module", params=[{}, {"preset": "lite", "levels": 1}], ids=str)
def checkpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of a model in which every part has a say."""
    torch.manual_seed(0)
    module = RecognitionModule(NAMES, SAMPLING.residual_channels, **request.param)
    for parameter in module.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    trainer = SimpleNamespace(datamodule=SimpleNamespace(sampling=SAMPLING, test_sampling=SAMPLING))
    module.trainer = trainer
    content: dict[str, Any] = {"state_dict": module.state_dict()}
    module.on_save_checkpoint(content)
    path = tmp_path_factory.mktemp("checkpoint") / "last.ckpt"
    torch.save(content, path)
    return path


@pytest.fixture(scope="module")
def model(checkpoint: Path) -> Classifier:
    return Classifier.from_checkpoint(checkpoint)


@pytest.fixture(scope="module")
def pt2(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pt2") / "model.pt2"
    export_model(checkpoint, path)
    return path


@pytest.fixture(scope="module")
def graph(pt2: Path) -> Callable[..., torch.Tensor]:
    module: Callable[..., torch.Tensor] = torch.export.load(pt2).module()
    return module


@pytest.fixture(scope="module")
def onnx(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package, reason=f"{package} is not installed: pip install '.[export]'")
    path = tmp_path_factory.mktemp("onnx") / "model.onnx"
    export_model(checkpoint, path)
    return path


def batches() -> list[tuple[torch.Tensor, ...]]:
    """Batches of other sizes than the graph was traced with, some P-frames missing."""
    out = []
    for clips, iframes in [(1, 1), (1, 2), (4, 2), (3, 4)]:
        images, index, *fields, mask = random_inputs(SAMPLING, clips, seed=clips + iframes)
        images = images.repeat(1, 2, 1, 1, 1)[:, :iframes]
        mask[0, -1] = False
        mask[-1, 0, -1] = False
        out.append((images.contiguous(), index.clamp(max=iframes - 1), *fields, mask))
    return out


def expected(model: Classifier, inputs: tuple[torch.Tensor, ...]) -> torch.Tensor:
    none = torch.zeros(len(inputs[0]), dtype=torch.int64)
    with torch.no_grad():
        clip = CompressedClip(*inputs, inputs[-1].long(), none, none, none).validate()
        logits: torch.Tensor = model.recognizer(clip)
    return logits


def test_torch_export_gives_the_logits_of_the_model(
    graph: Callable[..., torch.Tensor], model: Classifier
) -> None:
    for inputs in batches():
        torch.testing.assert_close(graph(*inputs), expected(model, inputs), rtol=0, atol=1e-5)


def test_onnx_gives_the_logits_of_the_model(onnx: Path, model: Classifier) -> None:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(onnx), providers=["CPUExecutionProvider"])
    assert tuple(item.name for item in session.get_inputs()) == INPUTS
    for inputs in batches():
        (logits,) = session.run(["logits"], {name: x.numpy() for name, x in zip(INPUTS, inputs, strict=True)})
        np.testing.assert_allclose(logits, expected(model, inputs).numpy(), rtol=0, atol=1e-4)


def test_a_graph_and_its_metadata_label_a_file_like_the_classifier(
    pt2: Path, graph: Callable[..., torch.Tensor], model: Classifier, tmp_path: Path
) -> None:
    about = json.loads(pt2.with_name("model.pt2.json").read_text())
    sampling = ClipSampling.from_dict(about["sampling"])
    video = encode(tmp_path / "clip.avi", (112, 80))
    clip = collate([Sample(0, 0, -1, "", read_clip(video, sampling))])
    clip = EvalTransform(sampling)(clip)
    with torch.no_grad():
        probabilities = graph(*(getattr(clip, name) for name in about["inputs"])).softmax(-1)[0]
    label, probability = model(video, top=1)[0]
    assert about["class_names"][int(probabilities.argmax())] == label
    assert float(probabilities.max()) == pytest.approx(probability, abs=1e-5)


def test_metadata_describe_the_inputs(pt2: Path) -> None:
    about = json.loads(pt2.with_name("model.pt2.json").read_text())
    assert about["class_names"] == NAMES
    assert about["sampling"] == SAMPLING.to_dict()
    assert about["inputs"]["iframes"] == {"dtype": "uint8", "shape": ["clips", "iframes", 3, 64, 64]}
    assert about["inputs"]["residual"] == {"dtype": "float32", "shape": ["clips", 2, 2, 10, 8, 8]}
    assert about["inputs"]["mask"] == {"dtype": "bool", "shape": ["clips", 2, 2]}
    assert about["output"] == {"name": "logits", "dtype": "float32", "shape": ["clips", 5]}
    assert about["versions"]["torch"] == importlib.metadata.version("torch")


def test_the_file_contains_the_metadata(pt2: Path) -> None:
    inside = {"cvr_lightning.json": ""}
    torch.export.load(pt2, extra_files=inside)
    assert json.loads(inside["cvr_lightning.json"]) == json.loads(pt2.with_name("model.pt2.json").read_text())


def test_the_onnx_file_contains_the_metadata(onnx: Path) -> None:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(onnx), providers=["CPUExecutionProvider"])
    inside = session.get_modelmeta().custom_metadata_map
    beside = json.loads(onnx.with_name("model.onnx.json").read_text())
    assert {name: json.loads(inside[name]) for name in beside} == beside


def test_one_segment_is_exported(model: Classifier, tmp_path: Path) -> None:
    """With N = 1 there is one I-frame, whose number cannot be left open."""
    sampling = replace(SAMPLING, segments=1, pframes=1)
    graph = export._export(export.WindowModel(model.recognizer).eval(), sampling).module()
    inputs = random_inputs(sampling, clips=3)
    torch.testing.assert_close(graph(*inputs), expected(model, inputs), rtol=0, atol=1e-5)


def test_a_graph_that_differs_is_not_written(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(
        model: export.WindowModel, sampling: ClipSampling, about: object, path: Path
    ) -> Callable[..., torch.Tensor]:
        path.write_bytes(b"a graph")
        return lambda *inputs: model(*inputs) + 0.001

    monkeypatch.setattr(export, "_write_pt2", write)
    with pytest.raises(ExportError, match="not written: its logits differ"):
        export_model(checkpoint, tmp_path / "model.pt2")
    assert list(tmp_path.iterdir()) == []


def test_missing_packages_are_named_with_how_to_install_them(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "onnxscript" else find(name)
    )
    with pytest.raises(ExportError, match=r"onnxscript.*pip install 'cvr-lightning\[export\]'.*\.pt2"):
        export_model(checkpoint, tmp_path / "model.onnx")


def test_a_model_of_pixels_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    stored = torch.load(checkpoint, weights_only=True)
    about = stored["cvr_lightning"]
    about["sampling"]["representation"] = about["architecture"]["representation"] = "pixel"
    pixels = CompressedVideoRecognizer(**about["architecture"]).state_dict()
    stored["state_dict"] = {f"recognizer.{name}": weights for name, weights in pixels.items()}
    torch.save(stored, tmp_path / "pixel.ckpt")
    with pytest.raises(ExportError, match="models of the pixel representation cannot"):
        export_model(tmp_path / "pixel.ckpt", tmp_path / "model.pt2")


def test_a_file_that_is_not_a_checkpoint_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.ckpt").write_bytes(b"garbage")
    with pytest.raises(CheckpointError, match="not a readable checkpoint"):
        export_model(tmp_path / "x.ckpt", tmp_path / "model.pt2")
