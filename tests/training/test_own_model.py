"""Custom models in training, checkpoints and inference; modules built from checkpoints."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.factories import data_options, make_clip
from helpers.own_model import MotionNet
from lightning import Trainer
from torch import nn

from cvr_lightning.cli.main import main
from cvr_lightning.datamodules import Folder, MotionShapes
from cvr_lightning.errors import CheckpointError, RunError
from cvr_lightning.inference.classify import Classifier
from cvr_lightning.models import CompressedVideoRecognizer
from cvr_lightning.training.module import RecognitionModule

OPTIONS = data_options(segments=2, pframes=2, size=(64, 88), crop=64, batch_size=5, num_workers=0)
OWN = Path(__file__).parents[1] / "helpers" / "own_model.py"


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data") / "shapes"
    MotionShapes(root=root, train_scenes=1, val_scenes=1, test_scenes=1).prepare_data()
    return root


def train(module: RecognitionModule, shapes: Path, folder: Path) -> Path:
    trainer = Trainer(
        default_root_dir=folder,
        max_epochs=1,
        logger=False,
        accelerator="cpu",
        devices=1,
        enable_progress_bar=False,
    )
    trainer.fit(module, Folder(shapes, **OPTIONS))
    trainer.save_checkpoint(folder / "x.ckpt")
    return folder / "x.ckpt"


@pytest.fixture(scope="module")
def names(shapes: Path) -> list[str]:
    return Folder(shapes, **OPTIONS).class_names


@pytest.fixture(scope="module")
def own_checkpoint(shapes: Path, names: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    module = RecognitionModule(names, model=MotionNet(10, 4), learning_rate=0.5)
    return train(module, shapes, tmp_path_factory.mktemp("own"))


@pytest.fixture(scope="module")
def checkpoint(shapes: Path, names: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    module = RecognitionModule(
        names, dropout=0.3, label_smoothing=0.2, ablate=("modulation",), averaging="logits"
    )
    return train(module, shapes, tmp_path_factory.mktemp("ours"))


def test_a_module_from_a_checkpoint_gives_equal_logits(checkpoint: Path) -> None:
    module = RecognitionModule.load_from_checkpoint(checkpoint).eval()
    again = RecognitionModule.load_from_checkpoint(checkpoint).eval()
    stored = torch.load(checkpoint, weights_only=True)["state_dict"]
    assert all(torch.equal(value, stored[name]) for name, value in module.state_dict().items())
    clip = make_clip(channels=24)
    assert torch.equal(module(clip), again(clip))
    classifier = Classifier.from_checkpoint(checkpoint)
    assert torch.equal(module(clip), classifier.recognizer(clip))


def test_its_options_are_those_of_the_training_or_overridden(checkpoint: Path) -> None:
    module = RecognitionModule.load_from_checkpoint(checkpoint)
    assert module.label_smoothing == 0.2
    assert module.scores.averaging == "logits"
    assert module.architecture["dropout"] == 0.3
    assert module.architecture["ablate"] == ["modulation"]
    assert RecognitionModule.load_from_checkpoint(checkpoint, label_smoothing=0.0).label_smoothing == 0.0


def test_hyper_parameters_are_plain_values(checkpoint: Path) -> None:
    stored = torch.load(checkpoint, weights_only=True)["hyper_parameters"]
    assert stored["label_smoothing"] == 0.2
    assert stored["ablate"] == ["modulation"]


@pytest.mark.parametrize(
    "change",
    [
        {"_instantiator": "os.system"},
        {"model": "os.system"},
        {"learning_rate": "high"},
        {"pretrained": "/x.ckpt"},
    ],
)
def test_hyper_parameters_that_no_training_stores_are_refused(
    change: dict[str, Any], checkpoint: Path, tmp_path: Path
) -> None:
    contents = torch.load(checkpoint, weights_only=True)
    contents["hyper_parameters"].update(change)
    torch.save(contents, tmp_path / "evil.ckpt")
    with pytest.raises(CheckpointError, match=rf"refused: .* 'hyper_parameters\.{next(iter(change))}'"):
        RecognitionModule.load_from_checkpoint(tmp_path / "evil.ckpt")


def test_a_huge_model_is_refused_before_it_is_built(checkpoint: Path, tmp_path: Path) -> None:
    contents = torch.load(checkpoint, weights_only=True)
    contents["hyper_parameters"]["residual_channels"] = 10**12
    torch.save(contents, tmp_path / "huge.ckpt")
    loaded = RecognitionModule.load_from_checkpoint(tmp_path / "huge.ckpt")  # the architecture decides
    assert loaded.architecture["residual_channels"] == 24
    contents["cvr_lightning"]["architecture"]["residual_channels"] = 10**12
    torch.save(contents, tmp_path / "huge.ckpt")
    with pytest.raises(CheckpointError, match="another architecture"):
        RecognitionModule.load_from_checkpoint(tmp_path / "huge.ckpt")


def test_a_custom_model_is_trained_and_loaded_with_equal_logits(own_checkpoint: Path) -> None:
    clip = make_clip()
    start = MotionNet(10, 4)
    module = RecognitionModule.load_from_checkpoint(own_checkpoint, model=MotionNet(10, 4))
    classifier = Classifier.from_checkpoint(own_checkpoint, model=MotionNet(10, 4))
    assert torch.equal(module(clip), classifier.recognizer(clip))
    assert not torch.equal(module(clip), start(clip))
    assert module.learning_rate == 0.5


def test_a_checkpoint_never_builds_a_custom_model(own_checkpoint: Path) -> None:
    built = MotionNet.built
    for load in (RecognitionModule.load_from_checkpoint, Classifier.from_checkpoint):
        with pytest.raises(CheckpointError, match=r"a model of your own, 'MotionNet', .* imports nothing"):
            load(own_checkpoint)
    assert MotionNet.built == built


def test_weights_of_another_model_are_refused(own_checkpoint: Path, checkpoint: Path) -> None:
    with pytest.raises(CheckpointError, match=re.escape("layers.0.weight (4, 2) for (5, 2)")):
        Classifier.from_checkpoint(own_checkpoint, model=MotionNet(10, 5))
    with pytest.raises(CheckpointError, match="of a CompressedVideoRecognizer, not of MotionNet"):
        Classifier.from_checkpoint(checkpoint, model=MotionNet(10, 4))


def test_a_classifier_labels_with_a_custom_model(own_checkpoint: Path, shapes: Path) -> None:
    classifier = Classifier.from_checkpoint(own_checkpoint, model=MotionNet(10, 4))
    predictions = classifier(next(shapes.glob("test/left/*.mp4")), top=10)
    assert sum(item.probability for item in predictions) == pytest.approx(1)


@pytest.mark.parametrize(
    "options", [{"preset": "small"}, {"ablate": ["modulation"]}, {"iframe_weights": "x"}, {"iframe_lr": 0.0}]
)
def test_options_of_the_recognizer_are_refused_with_a_custom_model(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(options))}=.* the model is a MotionNet: leave it out"):
        RecognitionModule(["a", "b"], model=MotionNet(2), **options)


def test_a_given_recognizer_keeps_its_options() -> None:
    model = CompressedVideoRecognizer(2, "lite", residual_channels=6)
    module = RecognitionModule(["a", "b"], model=model, iframe_lr=0.1)
    assert module.recognizer is model
    assert module.architecture["preset"] == "lite"


def test_logits_of_another_shape_are_refused_and_named() -> None:
    with pytest.raises(RunError, match=r"MotionNet returned \(2, 3\), expected logits \(2, 2\)"):
        RecognitionModule(["a", "b"], model=MotionNet(3))(make_clip())

    class Two(nn.Module):
        def forward(self, clip: Any) -> Any:
            return 1, 2

    with pytest.raises(RunError, match="Two returned tuple, expected logits"):
        RecognitionModule(["a", "b"], model=Two())(make_clip())


def test_the_command_line_takes_a_model_by_its_class(
    shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = [
        "--data=Folder",
        f"--data.root={shapes}",
        "--data.sampling.segments=2",
        "--data.sampling.pframes=2",
    ]
    data += ["--data.sampling.size=[64,88]", "--data.sampling.crop=64", "--data.num_workers=0"]
    trainer = ["--trainer.enable_progress_bar=false", f"--trainer.default_root_dir={tmp_path}"]
    own = [f"--import={OWN}", "--model.model=own_model.MotionNet", "--model.model.width=4"]
    main(["fit", *own, *data, *trainer, "--trainer.max_epochs=1", "--run=own"])
    checkpoint = tmp_path / "own" / "checkpoints" / "last.ckpt"
    main(["test", *own, f"--ckpt_path={checkpoint}", *trainer])
    assert (tmp_path / "own" / "results.json").is_file()
    main(["fit", *own, f"--ckpt_path={checkpoint}", *trainer, "--trainer.max_epochs=2", "--run=more"])
    capsys.readouterr()
    for command in (
        ["test", f"--ckpt_path={checkpoint}", *trainer],
        ["classify", "x", "--checkpoint", str(checkpoint)],
    ):
        with pytest.raises(SystemExit):
            main(command)
        assert "of a model of your own, 'MotionNet'" in capsys.readouterr().err
