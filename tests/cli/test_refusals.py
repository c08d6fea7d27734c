"""Errors of the commands: one message that says what to do."""

import inspect
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from helpers.tiny_runs import fit_arguments, refusal

from cvr_lightning.cli.main import main

ROOT = Path(__file__).resolve().parents[2]


def test_the_weights_of_other_classes_or_models_are_refused(
    run: Path, shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(shapes, tmp_path / "less")
    for part in ("train", "val", "test"):
        shutil.rmtree(tmp_path / "less" / part / "shake")
    checkpoint = str(run / "checkpoints" / "last.ckpt")
    assert "only in the checkpoint: ['shake']" in refusal(
        capsys, "test", "--ckpt_path", checkpoint, f"--data.root={tmp_path / 'less'}"
    )
    assert "preset is 'tiny' there and 'small' here" in refusal(
        capsys, "test", "--ckpt_path", checkpoint, "--model.preset=small"
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--trainer.val_check_interval=100"], "val_check_interval"),
        (["--trainer.accumulate_grad_batches=0"], "accumulate_grad_batches"),
        (["--trainer.accumulate_grad_batches=-1"], "accumulate_grad_batches"),
        (["--model.learning_rate=-1"], "learning_rate=-1"),
        (["--model.learning_rate=nan"], "model.learning_rate"),
        (
            [
                "--trainer.callbacks+=lightning.pytorch.callbacks.EarlyStopping",
                "--trainer.callbacks.monitor=val/topp",
            ],
            "val/topp",
        ),
    ],
)
def test_options_that_training_cannot_follow_are_one_message(
    options: list[str], message: str, shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert message in refusal(capsys, *fit_arguments(shapes, tmp_path, *options))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fti"], "did you mean 'fit'?"),
        (["fit", "--data", "MotionShape"], "Did you mean 'MotionShapes'?"),
        (["fit", "--data", "Folder", "--data.root", "nowhere"], "set --data.root to"),
        (["fit", "--data", "Folder"], "root"),
        (["fit", "--model.preset", "huge"], "tiny"),
        (["fit", "--model.num_classes=7"], "unrecognized arguments"),
        (["fit", "--learning_rate=1"], "Did you mean --model.learning_rate?"),
        (["fit", "--model.lerning_rate=1"], "Did you mean --model.learning_rate?"),
        (["fit", "--data=Folder", "--data.root=x", "--data.batchsize=1"], "Did you mean --data.batch_size?"),
        (["fit", "--trainer.max_epochs=two"], "- Expected a <class 'int'>\n"),
        (
            ["fit", "--trainer.accelerator=gpu", "--trainer.devices=99"],
            "--trainer.accelerator auto selects what this machine supports",
        ),
        (["fit", "--model.class_names=[a]"], "must be given via"),
        (["fit", "--data.batch_size=0"], "batch_size=0 must be at least 1"),
        (
            ["fit", "--data.protocol=5x3", "--data.sampling.crops=5"],
            "sets crops=3, contradicting crops=5",
        ),
        (["fit", "--data.protocol=3x5"], "coviar"),
        (["fit", "--data=Folder", "--data.root=x", "--data.segmentz=3"], "Option 'segmentz' is not accepted"),
        (
            ["fit", "--data=Folder", "--data.root=x", "--data.sampling.segments=two"],
            "<class 'int'>. Got value: two",
        ),
        (["test"], "needs trained weights: "),
        (["test", "--ckpt_path", "runs"], "needs trained weights, and runs is not a .ckpt file: "),
        (["test", "--ckpt_path", "nowhere.ckpt"], "no such checkpoint"),
        (["classify", "x.avi", "--checkpoint", "nowhere.ckpt"], "no such checkpoint"),
        (["watch", "x.avi", "--checkpoint", "nowhere.ckpt"], "no such checkpoint"),
        (["watch", "x.avi", "--checkpoint", "x.ckpt", "--on-error=ignore"], "invalid choice: 'ignore'"),
        (["export", "nowhere.ckpt", "x.pt2"], "no such checkpoint"),
        (["export", "x.ckpt", "x.pt"], "use .onnx or .pt2"),
        (["results", "nowhere"], "no such file; cvr test writes it"),
        (["fit", "--run=new", "--ckpt_path=last"], "runs/new has no checkpoint to resume from"),
        (["fit", "--trainer.accelerator=tpu"], "Requirement 'torch_xla"),
        (["fit", "--trainer.overfit_batches=1"], "use a folder with a few videos instead"),
        (["fit", "--data.seed=-1"], "seed=-1 must not be negative"),
        (["fit", "--model.levels=0"], "levels=0 must be between 1 and 4"),
        (["fit", "--model.label_smoothing=2"], "label_smoothing=2.0 must lie between 0 and 1"),
        (["fit", "--model.iframe_lr=-1"], "iframe_lr=-1.0 must not be negative"),
        (["fit", "--seed_everything=-1"], "--seed_everything -1: must be between 0 and"),
        (["fit", "--config=/"], "--config /: no such file"),
        (["fit", "--ckpt_path=/"], "needs trained weights, and / is not a .ckpt file"),
        (["fit", "--data.scene_seed=-1"], "scene_seed=-1 must not be negative"),
    ],
)
def test_errors_say_what_to_do(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    named = {option.partition("=")[0] for option in arguments}
    if arguments[0] == "fit" and named.isdisjoint({"--data", "--config", "-c"}):
        arguments = ["fit", "--data=MotionShapes", *arguments[1:]]
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code in (1, 2)
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("option", ["strategy", "logger", "callbacks", "plugins", "profiler", "devices"])
def test_a_value_that_names_a_file_does_not_show_it(
    option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("secret: secret\n")
    with pytest.raises(SystemExit):
        main(["fit", "--data=MotionShapes", f"--trainer.{option}={tmp_path / 'file'}"])
    error = capsys.readouterr().err
    assert "secret" not in error
    assert "Traceback" not in error


@pytest.mark.parametrize("command", ["fit", "test", "predict", "validate"])
def test_a_run_directory_that_cannot_be_written_is_named(
    command: str, run: Path, shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    weights = [] if command == "fit" else ["--ckpt_path", str(run / "checkpoints" / "last.ckpt")]
    data = ["--data=Folder", f"--data.root={shapes}"]
    with pytest.raises(SystemExit):
        main([command, *data, *weights, "--run=x", f"--trainer.default_root_dir={tmp_path / 'file'}"])
    assert f"{tmp_path / 'file' / 'x'}: cannot be written (Not a directory)" in capsys.readouterr().err


def test_a_run_directory_among_the_classes_is_refused(
    shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "videos").symlink_to(shapes / "train")
    monkeypatch.chdir(tmp_path / "videos")
    with pytest.raises(SystemExit):
        main(["fit", "--data=Folder", "--data.root=.", "--run=x"])
    assert "runs/x: the run directory would be read as a class folder of ." in capsys.readouterr().err
    assert not Path("runs").exists()


def test_errors_are_short(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["fit", "--data=Folder", "--data.root=x", "--data.batchsize=1"])
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("usage: ")
    assert lines[0].endswith(" fit [options]")
    assert len(lines) <= 8
    assert not any(noise in line for line in lines for noise in ("NestedArg", "NoneType", "Subtypes"))


@pytest.mark.parametrize(
    "data_set",
    [
        "Folder",
        "HMDB51",
        "Kinetics400",
        "MotionShapes",
        "SomethingSomethingV2",
        "UCF101",
        "Unlabeled",
    ],
)
def test_help_of_a_data_set_lists_the_options_of_all(
    data_set: str, capsys: pytest.CaptureFixture[str]
) -> None:
    from cvr_lightning.datamodules import CompressedVideoDataModule

    with pytest.raises(SystemExit):
        main(["fit", "--data.help", data_set])
    text = " ".join(capsys.readouterr().out.split())
    shared = set(inspect.signature(CompressedVideoDataModule).parameters) - {"root", "class_names"}
    assert {name for name in shared if f"[--data.{name}" not in text} == set()
    assert "Windows N spread over the video. (type: int, default: 8)" in text
    assert "(type: Literal['raise', 'skip'], default: raise)" in text


def test_a_damaged_checkpoint_is_refused_and_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "x.ckpt").write_bytes(b"garbage")
    (tmp_path / "notes.ckpt").write_text("hello\n")
    torch.save({"state_dict": {}}, tmp_path / "other.ckpt")
    whole = (tmp_path / "other.ckpt").read_bytes()
    (tmp_path / "cut.ckpt").write_bytes(whole[: len(whole) // 2])
    for name, message in [
        ("notes.ckpt", "not a readable checkpoint (it was not written by torch, or"),
        ("cut.ckpt", "or is truncated); train again"),
        ("x.ckpt", "not a readable checkpoint (it was not written by torch, or"),
        ("other.ckpt", "not one that `cvr fit` wrote"),
    ]:
        with pytest.raises(SystemExit):
            main(["test", "--ckpt_path", str(tmp_path / name)])
        assert message in capsys.readouterr().err


@pytest.mark.parametrize("differing", ["weights", "part", "option", "sampling"])
def test_weights_of_another_version_are_refused_with_the_remedy(
    differing: str, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    about = checkpoint["cvr_lightning"]
    if differing == "weights":
        checkpoint["state_dict"].pop("recognizer.modality")
    elif differing == "part":
        about["architecture"]["ablate"] = ["a part to come"]
    elif differing == "option":
        about["architecture"]["an_option_to_come"] = 1
    else:
        about["sampling"]["representation"] = "one to come"
    torch.save(checkpoint, tmp_path / "old.ckpt")
    with pytest.raises(SystemExit):
        main(["classify", "video.avi", "--checkpoint", str(tmp_path / "old.ckpt")])
    error = capsys.readouterr().err
    cause = "representation='one to come'" if differing == "sampling" else "these weights are of another"
    assert f"old.ckpt: {cause}" in error
    assert f"cvr_lightning {checkpoint['cvr_lightning']['versions']['cvr_lightning']})" in error


def test_help_needs_no_torch() -> None:
    program = (
        "import sys; from cvr_lightning.cli.main import main; main(['--help']); "
        "sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "classify" in done.stdout


def test_the_module_runs_like_the_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "cvr_lightning", "--version"], cwd=ROOT, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout.strip()) == (0, __import__("cvr_lightning").__version__)
