"""``cvr pretrain`` on a flat folder of real MPEG-4 files, and the training that starts from it."""

import logging
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from helpers.encoders import encode
from helpers.factories import data_options
from helpers.tiny_runs import TINY_CLIPS, killed_in_second_epoch
from lightning import Trainer

from cvr_lightning.cli.main import main
from cvr_lightning.clip import Sample, collate
from cvr_lightning.codec.errors import UnreadableVideoError
from cvr_lightning.datamodules import Unlabeled
from cvr_lightning.errors import CheckpointError, CropError
from cvr_lightning.models import CompressedVideoRecognizer
from cvr_lightning.training.checkpoint_model import load_pretrained
from cvr_lightning.training.checkpoint_schema import FORMAT
from cvr_lightning.training.module import RecognitionModule
from cvr_lightning.training.pretraining import PretrainingModule

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / "configs" / "pretrain.yaml"
TINY = [
    *TINY_CLIPS,
    "--data.num_workers=0",
    "--data.batch_size=2",
    "--trainer.accelerator=cpu",
    "--trainer.enable_progress_bar=false",
    "--trainer.log_every_n_steps=1",
]


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seven videos without labels, two of them in a folder, and a text file."""
    root = tmp_path_factory.mktemp("videos")
    (root / "more").mkdir()
    for number in range(7):
        encode(root / ("more" if number > 4 else "") / f"{number}.avi", (96, 80), frames=10 + number)
    (root / "notes.txt").write_text("no video")
    return root


def pretrain_arguments(videos: Path, runs: Path, *more: str) -> list[str]:
    return [
        "pretrain",
        f"--config={CONFIG}",
        f"--data.root={videos}",
        f"--trainer.default_root_dir={runs}",
        "--run=pre",
        "--trainer.max_epochs=2",
        *TINY,
        *more,
    ]


@pytest.fixture(scope="module")
def run(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run."""
    runs = tmp_path_factory.mktemp("runs")
    main(pretrain_arguments(videos, runs))
    return runs / "pre"


@pytest.fixture(scope="module")
def labeled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of three videos."""
    root = tmp_path_factory.mktemp("labeled")
    for name in ("a", "b"):
        (root / name).mkdir()
        for number in range(3):
            encode(root / name / f"{number}.avi", (96, 80), frames=10 + number)
    return root


def fit_arguments(labeled: Path, runs: Path, *more: str) -> list[str]:
    root = [f"--data.root={labeled}", f"--trainer.default_root_dir={runs}", "--trainer.max_epochs=1"]
    return ["fit", "--data=Folder", "--run=fit", *root, *TINY, *more]


def test_pretrain_leaves_configuration_events_and_checkpoints_in_one_directory(run: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    config = yaml.safe_load((run / "config.yaml").read_text())
    assert config["model"]["mask_ratio"] == 0.6
    assert {path.name for path in (run / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}
    events = EventAccumulator(str(run))
    events.Reload()
    parts = ("loss", "motion", "residual", "loss_of_zero")
    assert {"train/loss", "train/learning_rate", *(f"val/{part}" for part in parts)} <= set(
        events.Tags()["scalars"]
    )
    assert len(events.Scalars("train/loss")) == 6  # one of seven videos is held out, batches of 2, two epochs
    for loss, motion, residual in zip(*(events.Scalars(f"val/{part}") for part in parts[:3]), strict=True):
        assert loss.value == pytest.approx(motion.value + residual.value)


def test_the_validation_loss_falls(videos: Path, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    main(pretrain_arguments(videos, tmp_path, "--trainer.max_epochs=12"))
    events = EventAccumulator(str(tmp_path / "pre"))
    events.Reload()
    first, *_, last = events.Scalars("val/loss")
    assert last.value < first.value


def test_a_checkpoint_holds_plain_values_and_no_head(run: Path) -> None:
    checkpoint = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    about = checkpoint["cvr_lightning"]
    assert (about["architecture"]["preset"], about["architecture"]["residual_channels"]) == ("tiny", 24)
    assert about["config"]["data"]["class_path"].endswith("Unlabeled")
    assert not [name for name in checkpoint["state_dict"] if ".head." in name]


DIES_IN_THE_SECOND_EPOCH = killed_in_second_epoch(
    "cvr_lightning.training.pretraining.PretrainingModule", batch=1
)


def test_a_run_that_was_killed_and_resumed_ends_with_the_same_weights(
    run: Path, videos: Path, tmp_path: Path
) -> None:
    arguments = pretrain_arguments(videos, tmp_path, "--data.num_workers=2")
    killed = subprocess.run([sys.executable, "-c", DIES_IN_THE_SECOND_EPOCH, *arguments], cwd=ROOT)
    assert killed.returncode == -signal.SIGKILL
    main([*arguments, "--ckpt_path=last"])
    resumed, undisturbed = (
        torch.load(path / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
        for path in (tmp_path / "pre", run)
    )
    assert resumed.keys() == undisturbed.keys()
    for name, weights in undisturbed.items():
        assert torch.equal(resumed[name], weights), name


def test_fit_starts_from_the_pretrained_weights(
    run: Path, labeled: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    checkpoint = run / "checkpoints" / "last.ckpt"
    caplog.set_level(logging.INFO)
    rest = ("--optimizer=SGD", "--optimizer.lr=0")
    main(fit_arguments(labeled, tmp_path, f"--model.pretrained={checkpoint}", *rest))
    pretrained = torch.load(checkpoint, weights_only=True)["state_dict"]
    fitted = torch.load(tmp_path / "fit" / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    compared = 0
    for name, weights in fitted.items():  # a learning rate of zero left them as they were loaded
        if not name.startswith("recognizer.heads."):
            assert torch.equal(weights, pretrained[f"masked.{name}"]), name
            compared += 1
    own = CompressedVideoRecognizer(2).state_dict()
    assert compared == len([name for name in own if not name.startswith("heads.")])
    assert f"last.ckpt: {compared} weights loaded, all but heads.0.0.weight, heads.0.0.bias" in caplog.text


@pytest.mark.parametrize(("there", "here"), [(False, False), (True, False), (False, True), (True, True)])
def test_weights_of_a_training_with_other_classes_start_one_too(
    there: bool, here: bool, tmp_path: Path
) -> None:
    trained = RecognitionModule(["a", "b", "c"], preset="tiny", exchange=there)
    checkpoint = {
        "state_dict": trained.state_dict(),
        "cvr_lightning": {
            "format": FORMAT,
            "versions": {},
            "sampling": {},
            "averaging": "softmax",
            "class_names": ["a", "b", "c"],
            "architecture": trained.architecture,
        },
    }
    torch.save(checkpoint, tmp_path / "x.ckpt")
    module = RecognitionModule(["d", "e"], preset="tiny", dropout=0.5, exchange=here)
    head = module.recognizer.heads[1][2].weight.clone()
    names = load_pretrained(module.recognizer, tmp_path / "x.ckpt")
    assert torch.equal(module.recognizer.transformer.cls, trained.recognizer.transformer.cls)
    assert torch.equal(module.recognizer.heads[1][2].weight, head)
    assert set(names.loaded) | set(names.left) == set(module.recognizer.state_dict())
    assert any(name.endswith("exchange") for name in names.loaded) == (there and here)
    assert any(name.endswith("exchange") for name in names.left) == (here and not there)


@pytest.mark.parametrize("classes", [["a", "b"], ["d", "e", "f"]])
def test_the_heads_stay_as_they_are(classes: list[str], tmp_path: Path) -> None:
    trained = RecognitionModule(["a", "b"], preset="tiny", ablate=["modulation", "spikes"])
    about = {
        "sampling": {},
        "averaging": "softmax",
        "format": FORMAT,
        "versions": {},
        "class_names": ["a", "b"],
        "architecture": trained.architecture,
    }
    checkpoint = {"state_dict": trained.state_dict(), "cvr_lightning": about}
    torch.save(checkpoint, tmp_path / "x.ckpt")
    module = RecognitionModule(classes, preset="tiny", ablate=["spikes", "modulation"])
    names = load_pretrained(module.recognizer, tmp_path / "x.ckpt")
    assert names.left
    assert {name.split(".")[0] for name in names.left} == {"heads"}
    heads, others = (module.recognizer.heads, trained.recognizer.heads)
    assert not torch.equal(heads[0][2].weight, others[0][2].weight)


def test_a_crop_of_one_place_is_refused(videos: Path) -> None:
    module = PretrainingModule(residual_channels=24, pframes=2)
    module.trainer = Trainer(logger=False, accelerator="cpu", devices=1)
    module.trainer.datamodule = Unlabeled(videos, **data_options(size=(64, 88), crop=32))  # type: ignore[attr-defined]
    with pytest.raises(CropError, match="crop=32 gives a single token"):
        module.setup("fit")


def test_a_validation_batch_that_cannot_be_read_is_logged_without_a_weight(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module = PretrainingModule(residual_channels=6, pframes=2)
    logged: dict[str, int] = {}
    monkeypatch.setattr(module, "log", lambda name, value, batch_size, **_: logged.update({name: batch_size}))
    error = UnreadableVideoError("x.avi", "it is empty")
    module.validation_step(collate([Sample(0, -1, 0, "x.avi", error)]), 0)
    assert logged == {f"val/{part}": 0 for part in ("loss", "motion", "residual", "loss_of_zero")}


def damaged(tmp_path: Path, change: str) -> Path:
    module = PretrainingModule(residual_channels=6, pframes=2)
    state = module.state_dict()
    name = "masked.recognizer.transformer.cls"
    if change == "missing":
        del state[name]
    elif change == "unknown":
        state["masked.recognizer.antenna"] = torch.zeros(1)
    else:
        state[name] = torch.zeros(3)
    about = {"format": FORMAT, "versions": {}, "architecture": module.architecture}
    torch.save({"state_dict": state, "cvr_lightning": about}, tmp_path / "x.ckpt")
    return tmp_path / "x.ckpt"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("missing", r"1 missing \(transformer.cls\)"),
        ("unknown", r"1 not of this model \(antenna\)"),
        ("shape", r"1 of another shape \(transformer.cls \(3,\) for \(2, 64\)\)"),
    ],
)
def test_weights_that_do_not_fit_are_named_and_none_is_loaded(
    tmp_path: Path, change: str, message: str
) -> None:
    module = RecognitionModule(["a", "b"], residual_channels=6)
    before = {name: weights.clone() for name, weights in module.recognizer.state_dict().items()}
    with pytest.raises(CheckpointError, match=message):
        load_pretrained(module.recognizer, damaged(tmp_path, change))
    for name, weights in module.recognizer.state_dict().items():
        assert torch.equal(weights, before[name]), name


def test_another_preset_and_other_inputs_are_refused_and_named(tmp_path: Path) -> None:
    module = RecognitionModule(["a", "b"], preset="small", residual_channels=24)
    with pytest.raises(
        CheckpointError, match="preset is 'tiny' there and 'small' here; residual_channels is 6"
    ):
        load_pretrained(module.recognizer, damaged(tmp_path, "missing"))


def test_errors_say_what_to_do(
    run: Path, labeled: Path, videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = str(run / "checkpoints" / "last.ckpt")
    video = str(videos / "0.avi")
    (tmp_path / "empty").mkdir()
    mistakes = [
        (
            ["test", "--ckpt_path", checkpoint],
            "has no classes; train from it with cvr fit --model.pretrained",
        ),
        (["classify", video, "--checkpoint", checkpoint], "has no classes"),
        (
            fit_arguments(labeled, tmp_path, "--model.pretrained=nowhere.ckpt"),
            "nowhere.ckpt: no such checkpoint",
        ),
        (
            fit_arguments(labeled, tmp_path, f"--model.pretrained={checkpoint}", "--model.iframe_weights=x"),
            "leave iframe_weights out",
        ),
        (["fit", "--data=Unlabeled", f"--data.root={videos}"], "the data set has no classes"),
        (pretrain_arguments(videos, run.parent), "Resume it with --ckpt_path last"),
        (pretrain_arguments(tmp_path / "nowhere", tmp_path), "Unlabeled: the folder does not exist"),
        (pretrain_arguments(tmp_path / "empty", tmp_path), "0 videos (.mp4"),
        (
            pretrain_arguments(videos, tmp_path, "--model.mask_ratio=1"),
            "mask_ratio=1.0 must be between 0 and 1",
        ),
        (pretrain_arguments(videos, tmp_path, "--data.val_fraction=0"), "val_fraction=0.0 must be between"),
        (
            pretrain_arguments(videos, tmp_path, "--data.augmentation.mixup=1"),
            "mixup and cutmix need labels",
        ),
    ]
    for arguments, message in mistakes:
        with pytest.raises(SystemExit) as stop:
            main(arguments)
        assert stop.value.code in (1, 2)
        assert message in capsys.readouterr().err


def test_a_checkpoint_is_all_that_it_takes_to_go_on(run: Path, videos: Path, tmp_path: Path) -> None:
    where = [f"--trainer.default_root_dir={tmp_path}", "--run=on", "--trainer.max_epochs=3"]
    main(["pretrain", f"--ckpt_path={run}/checkpoints/last.ckpt", *where])
    config = yaml.safe_load((tmp_path / "on" / "config.yaml").read_text())
    assert config["data"]["init_args"]["root"] == str(videos)
    last = torch.load(tmp_path / "on" / "checkpoints" / "last.ckpt", weights_only=True)
    assert last["epoch"] == 2


def test_pretraining_does_not_resume_a_training_with_labels(
    labeled: Path, videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(fit_arguments(labeled, tmp_path))
    checkpoint = tmp_path / "fit" / "checkpoints" / "last.ckpt"
    capsys.readouterr()
    with pytest.raises(SystemExit):
        main(pretrain_arguments(videos, tmp_path, f"--ckpt_path={checkpoint}"))
    assert "a checkpoint of `cvr fit`, which pretraining cannot resume" in capsys.readouterr().err
