"""Values that an option does not take: one message that names it, and exit status 2."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from helpers.tiny_runs import untrained_checkpoint

from cvr_lightning import datamodules
from cvr_lightning.cli.main import main
from cvr_lightning.datamodules.sampling import ClipSampling


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--seed_everything=-1", "--seed_everything -1: must be between 0 and 4294967295"),
        ("--trainer.accumulate_grad_batches=0", "--trainer.accumulate_grad_batches 0: must be at least 1"),
        ("--trainer.check_val_every_n_epoch=0", "--trainer.check_val_every_n_epoch 0: must be at least 1"),
        ("--trainer.val_check_interval=0", "--trainer.val_check_interval 0: must be positive"),
        ("--trainer.val_check_interval={a: 1}", "--trainer.val_check_interval {'a': 1}: write a number"),
        ("--trainer.devices=1000000", "--trainer.devices 1000000: must be at most 10000"),
        ("--trainer.max_time=abc", "--trainer.max_time 'abc': write days:hours:minutes:seconds"),
        ("--trainer.max_time=", "--trainer.max_time '': write days:hours:minutes:seconds"),
        ("--model.pretrained=", "--model.pretrained is empty"),
        ("--model.iframe_weights=", "--model.iframe_weights is empty"),
        ("--model.model=torch.nn.Module", "the model is a Module, which defines no forward method"),
        ("--model.learning_rate=0", "learning_rate=0.0 must be a positive number"),
        ("--lr_scheduler=StepLR", "lr_scheduler"),
        ("--data.sampling=[]", "--data.sampling []: set its parts, such as --data.sampling."),
        ("--data.augmentation=null", "--data.augmentation null: leave it out for its default"),
        ("--data.val_fraction=-1", "val_fraction=-1.0 must be positive"),
    ],
)
def test_a_value_out_of_range_is_named(
    option: str, message: str, videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert message in refusal(capsys, "fit", "--data=Folder", f"--data.root={videos}", option)


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Class folders without anything that could be read."""
    root = tmp_path_factory.mktemp("videos")
    for part in ("train", "val"):
        for name in "ab":
            (root / part / name).mkdir(parents=True)
            (root / part / name / "0.avi").write_bytes(b"no video")
    return root


def refusal(capsys: pytest.CaptureFixture[str], *command: str) -> str:
    with pytest.raises(SystemExit) as stop:
        main(command)
    error = capsys.readouterr().err
    assert stop.value.code == 2
    assert "Traceback" not in error
    return error


NUMBERS = ("batch_size", "seed", "sampling.segments", "sampling.crop", "augmentation.mixup")


@pytest.mark.parametrize("name", datamodules.__all__)
@pytest.mark.parametrize("option", NUMBERS)
def test_null_is_refused_by_every_data_set(
    name: str, option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if name == "CompressedVideoDataModule":
        return
    error = refusal(capsys, "fit", f"--data={name}", f"--data.root={tmp_path}", f"--data.{option}=null")
    assert option.rpartition(".")[2] in error


def test_packing_names_the_option_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["pack", str(tmp_path / "x"), "--data=Folder", f"--data.root={tmp_path}"]
    assert "--data.batch_size null" in refusal(capsys, *command, "--data.batch_size=null")


@pytest.mark.parametrize("command", [["fit"], ["pack", "shards"]])
def test_a_folder_whose_name_is_not_text_is_named(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    root = os.fsdecode(b"caf\xe9")
    error = refusal(capsys, *command, "--data=Folder", f"--data.root={root}")
    assert r"caf\udce9: its bytes are not text in this locale" in error


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--device=0", "; --device auto selects one that works here"),
        ("--device=meta", "--device meta: "),
        ("--device=", "--device : "),
        ("--device=cuda:99", "--device cuda:99: "),
        (
            "--batch-size=99999999999999999999",
            "argument --batch-size: '99999999999999999999' must be a whole",
        ),
        ("--top=0", "argument --top: '0' must be a whole number, at least 1"),
    ],
)
@pytest.mark.parametrize("command", ["classify", "label"])
def test_tools_name_the_option_and_what_it_takes(
    command: str, option: str, message: str, checkpoint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    output = ["--output", "labels.csv"] if command == "label" else []
    assert message in refusal(capsys, command, "x.avi", "--checkpoint", checkpoint, *output, option)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("checkpoint") / "a.ckpt"
    return str(untrained_checkpoint(path, ["a", "b"], ClipSampling()))


@pytest.mark.parametrize("option", ["--segments=0", "--classes=-1", "--pframes=1000000", "--crop=7"])
def test_summarize_names_the_option(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    name, _, value = option.partition("=")
    assert f"{name} {value}: " in refusal(capsys, "summarize", "--preset=tiny", option)


def test_an_empty_name_is_not_a_checkpoint(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="1"):
        main(["summarize", "--checkpoint="])
    assert "no such checkpoint" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["pretrained", "iframe_weights"])
def test_weights_that_are_missing_are_named_with_their_option(
    name: str, videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = [f"--trainer.default_root_dir={tmp_path}", "--run=x"]
    sampling = ["--data.sampling.modalities=[iframes]", "--data.on_error=skip", "--data.num_workers=0"]
    with pytest.raises(SystemExit):
        main(["fit", "--data=Folder", f"--data.root={videos}", *sampling, *place, f"--model.{name}=nowhere"])
    assert f"cvr: {name}=nowhere: no such " in capsys.readouterr().err
