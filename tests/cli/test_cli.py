"""The commands as a user types them, on a tiny data set of real MPEG-4 files."""

import inspect
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from helpers.encoders import encode
from helpers.tiny_runs import TINY_CLIPS, killed_in_second_epoch
from lightning import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from cvr_lightning.cli.bundled import with_bundled_configs
from cvr_lightning.cli.main import main
from cvr_lightning.cli.run_directory import default_run_name, require_last
from cvr_lightning.errors import RunError
from cvr_lightning.evaluation.results import read_results
from cvr_lightning.inference import watch
from cvr_lightning.inference.streaming import StreamPrediction
from cvr_lightning.tools.report.run import read_curves

ROOT = Path(__file__).resolve().parents[2]
# Small enough for seconds: two shots of six frames' worth of segments at a coarse resolution.
CLIPS = [
    *TINY_CLIPS,
    "--data.num_workers=0",
]
AUGMENTED = [
    "--data.augmentation.scale_jitter=[1.0,0.75]",
    "--data.augmentation.mixup=0.2",
    "--data.augmentation.cutmix=1.0",
    "--data.augmentation.modality_dropout=0.1",
]
SKIP = ["--data.on_error=skip", "--trainer.enable_progress_bar=false"]
TINY_TRAINER = ["--trainer.enable_progress_bar=false", "--trainer.num_sanity_val_steps=0"]


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of MotionShapes: ten classes, one video each in train, val and test."""
    from cvr_lightning.datamodules import MotionShapes

    root = tmp_path_factory.mktemp("data") / "shapes"
    MotionShapes(root=root, train_scenes=2, val_scenes=1, test_scenes=1).prepare_data()
    return root


def fit_arguments(shapes: Path, runs: Path, *more: str) -> list[str]:
    return [
        "fit",
        "--data=Folder",
        f"--data.root={shapes}",
        "--data.batch_size=5",
        f"--trainer.default_root_dir={runs}",
        "--run=tiny",
        "--trainer.max_epochs=2",
        "--trainer.log_every_n_steps=1",
        *CLIPS,
        *AUGMENTED,
        *TINY_TRAINER,
        *more,
    ]


@pytest.fixture(scope="module")
def run(shapes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished training run."""
    runs = tmp_path_factory.mktemp("runs")
    main(fit_arguments(shapes, runs))
    return runs / "tiny"


def test_fit_leaves_configuration_events_and_checkpoints_in_one_directory(run: Path) -> None:
    config = yaml.safe_load((run / "config.yaml").read_text())
    assert config["data"]["init_args"]["sampling"]["segments"] == 2
    assert config["model"]["preset"] == "tiny"
    assert {path.name for path in (run / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}
    assert list(run.glob("events.out.tfevents.*"))


def test_the_logged_scalars_and_the_confusion_matrix_are_in_tensorboard(run: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run))
    events.Reload()
    documented = {"train/loss", "train/top1", "train/learning_rate", "val/loss", "val/top1", "val/top5"}
    assert documented <= set(events.Tags()["scalars"])
    assert "val/confusion_matrix" in events.Tags()["images"]
    assert len(events.Scalars("train/loss")) == 8  # 20 videos in batches of 5, two epochs


def test_a_checkpoint_is_self_contained_and_holds_plain_values(run: Path) -> None:
    checkpoint = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    about = checkpoint["cvr_lightning"]
    assert about["class_names"][:3] == ["circle", "down", "left"]
    assert about["architecture"]["preset"] == "tiny"
    assert about["sampling"]["segments"] == 2
    assert about["versions"]["torch"] == torch.__version__
    assert checkpoint["epoch"] == 1


def test_test_needs_only_the_checkpoint_and_writes_every_documented_key(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(
        ["test", "--ckpt_path", str(run / "checkpoints" / "last.ckpt"), "--trainer.enable_progress_bar=false"]
    )
    results = json.loads((run / "results.json").read_text())
    assert results["videos"] == 10
    assert 0 <= results["top1"] <= results["top5"] <= 1
    assert results["unreadable"] == []
    assert results["protocol"]["segments"] == 2
    assert results["protocol"]["averaging"] == "softmax"
    assert set(results["videos_per_second"]) == {"with_reading", "model_only"}
    assert results["videos_per_second"]["model_only"] >= results["videos_per_second"]["with_reading"] > 0
    assert results["gmac_per_video"] > 0
    assert results["energy_j_per_video"]["theoretical"] > 0
    assert results["energy_j_per_video"]["measured"] is None
    assert 0 < results["activation_sparsity"] < 1
    assert results["config"]["data"]["init_args"]["sampling"]["crop"] == 64
    assert "lightning" in results["versions"]
    table = capsys.readouterr().out
    assert f"{100 * results['top1']:.2f} %" in table
    assert "not measured" in table


def test_an_option_overrides_the_checkpoint_and_more_views_cost_more(run: Path, tmp_path: Path) -> None:
    checkpoint = str(run / "checkpoints" / "last.ckpt")
    common = ["--ckpt_path", checkpoint, f"--trainer.default_root_dir={tmp_path}"]
    common.append("--trainer.enable_progress_bar=false")
    main(["test", *common, "--run=one"])
    main(["test", *common, "--run=three", "--data.protocol=1x3", "--model.averaging=logits"])
    one, three = (json.loads((tmp_path / name / "results.json").read_text()) for name in ("one", "three"))
    assert three["videos"] == one["videos"] == 10
    named = ("name", "views", "crops", "averaging")
    assert [one["protocol"][name] for name in named] == [None, 1, 1, "softmax"]
    assert [three["protocol"][name] for name in named] == ["1x3", 1, 3, "logits"]
    assert three["gmac_per_video"] == pytest.approx(3 * one["gmac_per_video"])


def test_summarize_and_results_count_a_checkpoint_alike(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = str(run / "checkpoints" / "last.ckpt")
    arguments = ["--ckpt_path", checkpoint, f"--trainer.default_root_dir={tmp_path}", "--run=x"]
    main(["test", *arguments, "--trainer.enable_progress_bar=false"])
    results = json.loads((tmp_path / "x" / "results.json").read_text())
    capsys.readouterr()

    def summarize(*files: str) -> dict[str, Any]:
        main(["summarize", "--checkpoint", checkpoint, "--json", *files])
        return json.loads(capsys.readouterr().out)

    generated = summarize()
    for name in ("parameters", "gmac_per_video"):
        assert generated[name] == pytest.approx(results[name])
    assert generated["synaptic_operations_per_video"]["Dense"] == pytest.approx(
        results["synaptic_operations_per_video"]["Dense"]
    )
    # On the videos of the first batch the rates are the same too, and with them all else.
    root = Path(results["config"]["data"]["init_args"]["root"])
    names = np.load(tmp_path / "x" / "scores.npz")["video"][:5]
    same = summarize(*(str(root / name) for name in names))
    assert same["spikes_per_neuron"] == pytest.approx(results["spikes_per_neuron"])
    energies = (result["energy_j_per_video"]["theoretical"] for result in (same, results))
    assert next(energies) == pytest.approx(next(energies))


def test_predict_labels_every_video_once(run: Path, tmp_path: Path) -> None:
    arguments = ["--ckpt_path", str(run / "checkpoints" / "last.ckpt"), "--run=p"]
    main(["predict", *arguments, f"--trainer.default_root_dir={tmp_path}", *TINY_TRAINER[:1]])
    lines = (tmp_path / "p" / "predictions.csv").read_text().splitlines()
    assert lines[0] == "video,label,probability"
    assert len(lines) == 11
    assert sorted({line.split(",")[0].split("/")[1] for line in lines[1:]})[:2] == ["circle", "down"]


def test_classify_prints_labels_and_names_what_it_cannot_read(
    run: Path, shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken.avi"
    broken.write_bytes(b"not a video")
    video = str(next(shapes.glob("test/left/*.mp4")))
    with pytest.raises(SystemExit) as stop:
        main(
            ["classify", video, str(broken), "--checkpoint", str(run / "checkpoints" / "last.ckpt"), "--json"]
        )
    assert stop.value.code == 1
    captured = capsys.readouterr()
    first, second = map(json.loads, captured.out.splitlines())
    assert first["file"] == video
    assert len(first["predictions"]) == 5
    assert sum(item["probability"] for item in first["predictions"]) <= 1.0001
    assert "broken.avi" in second["error"]
    assert "1 of 2 files could not be labeled" in captured.err


def test_classify_agrees_with_predict(run: Path, shapes: Path, tmp_path: Path) -> None:
    from cvr_lightning.inference.classify import Classifier

    checkpoint = str(run / "checkpoints" / "last.ckpt")
    common = [f"--trainer.default_root_dir={tmp_path}", *TINY_TRAINER[:1]]
    main(["predict", "--ckpt_path", checkpoint, "--run=p", "--data.protocol=2x3", *common])
    trained = Classifier.from_checkpoint(checkpoint)
    views = replace(trained.sampling, views=2, crops=3)
    classifier = Classifier(trained.recognizer, trained.class_names, views)
    for line in (tmp_path / "p" / "predictions.csv").read_text().splitlines()[1:4]:
        name, label, probability = line.split(",")
        best = classifier(shapes / name)[0]
        assert best.label == label
        assert best.probability == pytest.approx(float(probability), abs=1e-3)


def test_many_files_are_labeled_in_batches_as_one_by_one(run: Path, shapes: Path, tmp_path: Path) -> None:
    from cvr_lightning.codec.errors import VideoError
    from cvr_lightning.inference.classify import Classifier

    trained = Classifier.from_checkpoint(run / "checkpoints" / "last.ckpt")
    views = replace(trained.sampling, views=2, crops=3)
    classifier = Classifier(trained.recognizer, trained.class_names, views)
    broken = tmp_path / "broken.avi"
    broken.write_bytes(b"not a video")
    videos = sorted(shapes.glob("test/*/*.mp4"))[:5]
    several = list(classifier.stream([broken, *videos, broken], top=3, batch_size=3, threads=2))
    assert [isinstance(item, VideoError) for item in several] == [True, *[False] * 5, True]
    for video, predictions in zip(videos, several[1:-1], strict=True):
        alone = classifier(video, top=3)
        assert [item.label for item in predictions] == [item.label for item in alone]
        for ours, its in zip(predictions, alone, strict=True):
            assert ours.probability == pytest.approx(its.probability, abs=1e-4)


def test_watch_prints_what_the_streaming_recognizer_gives(
    run: Path, shapes: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from cvr_lightning.codec.container.packets import open_packets
    from cvr_lightning.inference.streaming import StreamingRecognizer

    checkpoint, video = str(run / "checkpoints" / "last.ckpt"), shapes / "test" / "left" / "0000.mp4"
    recognizer = StreamingRecognizer.from_checkpoint(checkpoint, stride=3)
    with open_packets(video) as packets:
        expected = list(recognizer(packets))
    main(["watch", str(video), "--checkpoint", checkpoint, "--stride=3", "--json"])
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    names = ("frame", "seconds", "label", "probability", "segments")
    assert lines == [{name: getattr(item, name) for name in names} for item in expected]
    main(["watch", str(video), "--checkpoint", checkpoint, "--stride=3"])
    *_, last = capsys.readouterr().out.splitlines()
    assert last.split() == ["1.40", "s", f"{100 * expected[-1].probability:.1f}", "%", expected[-1].label]


def test_watch_reads_standard_input(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["--checkpoint", str(run / "checkpoints" / "last.ckpt"), "--json"]
    video = encode(tmp_path / "clip.avi", frames=6)
    main(["watch", str(video), *arguments])
    expected = capsys.readouterr().out
    with video.open() as file:
        monkeypatch.setattr(sys, "stdin", file)
        main(["watch", "-", *arguments])
    assert capsys.readouterr().out == expected


def test_ctrl_c_ends_watch_without_a_traceback(
    run: Path, shapes: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(predictions: Iterable[StreamPrediction]) -> Iterator[StreamPrediction]:
        yield next(iter(predictions))
        raise KeyboardInterrupt

    monkeypatch.setattr(watch, "paced", interrupted)
    video = str(shapes / "test" / "left" / "0000.mp4")
    with pytest.raises(SystemExit) as stop:
        main(["watch", video, "--checkpoint", str(run / "checkpoints" / "last.ckpt"), "--realtime"])
    assert stop.value.code == 130
    captured = capsys.readouterr()
    assert len(captured.out.splitlines()) == 1
    assert captured.err == ""


def test_results_are_printed_side_by_side(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(
        ["test", "--ckpt_path", str(run / "checkpoints" / "last.ckpt"), "--trainer.enable_progress_bar=false"]
    )
    capsys.readouterr()
    main(["results", str(run), str(run)])
    top1 = next(line for line in capsys.readouterr().out.splitlines() if "top-1" in line)
    assert len(top1.split()) == 5


def test_results_tell_how_the_test_videos_were_held_out(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["test", "--ckpt_path", str(run / "checkpoints" / "last.ckpt"), *TINY_TRAINER])
    results = json.loads((run / "results.json").read_text())
    assert "data                   Folder, test subset" in capsys.readouterr().out
    results["protocol"] |= {"subset": "10% of the videos of each class, held out by split_seed", "split": 3}
    (tmp_path / "results.json").write_text(json.dumps(results))
    main(["results", str(tmp_path)])
    found = capsys.readouterr().out
    assert "Folder, 10% of the videos of each class, held out by split_seed 3\n" in found


def test_a_second_run_never_overwrites_the_first(
    run: Path, shapes: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        main(fit_arguments(shapes, run.parent))
    assert stop.value.code == 1
    assert "Resume it with --ckpt_path last" in capsys.readouterr().err


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one message that a command ends with."""
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    error = capsys.readouterr().err
    assert stop.value.code in (1, 2)
    assert "Traceback" not in error
    return error


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


def test_a_limit_of_one_batch_tests_one_batch_and_says_so(
    run: Path, shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = run / "checkpoints" / "last.ckpt"
    main(
        [
            "test",
            f"--ckpt_path={checkpoint}",
            f"--trainer.default_root_dir={tmp_path}",
            "--run=limited",
            "--trainer.limit_test_batches=1",
            "--trainer.enable_progress_bar=false",
        ]
    )
    results = read_results(tmp_path / "limited")
    assert (results["videos"], results["subset_videos"]) == (5, 10)
    assert "5 of 10 scored" in capsys.readouterr().out


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


LOGGERS = {
    "none": (["--trainer.logger=false"], set()),
    "csv": (["--trainer.logger=CSVLogger"], {"csv"}),
    "board": (["--trainer.logger=TensorBoardLogger"], set()),
    "both": (["--trainer.logger=[CSVLogger,TensorBoardLogger]"], {"csv"}),
}


@pytest.mark.parametrize("logger", list(LOGGERS))
def test_with_any_logger_a_run_is_one_directory_and_can_resume(
    logger: str, shapes: Path, tmp_path: Path
) -> None:
    run = tmp_path / "tiny"
    options, folders = LOGGERS[logger]
    main(fit_arguments(shapes, tmp_path, *options, "--trainer.max_epochs=1"))
    main(fit_arguments(shapes, tmp_path, *options, "--trainer.max_epochs=2", "--ckpt_path=last"))
    assert {path.name for path in (run / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}
    assert torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["epoch"] == 1
    assert os.listdir(tmp_path) == ["tiny"]
    assert {path.name for path in run.iterdir() if path.is_dir()} == {"checkpoints", *folders}
    assert bool(list(run.glob("events.out.tfevents.*"))) == (logger in ("board", "both"))
    curves = read_curves(run)
    assert len(curves["train/loss"]) == 8  # 20 videos in batches of 5, two epochs
    assert len(curves["val/top1"]) == 2


def test_a_directory_given_to_a_logger_is_kept(shapes: Path, tmp_path: Path) -> None:
    options = ["--trainer.logger=CSVLogger", f"--trainer.logger.save_dir={tmp_path / 'mine'}"]
    main(fit_arguments(shapes, tmp_path / "runs", *options, "--trainer.max_epochs=1"))
    assert (tmp_path / "mine" / "tiny" / "version_0" / "metrics.csv").is_file()
    assert (tmp_path / "runs" / "tiny" / "metrics.csv").is_file()


def test_fewer_epochs_than_the_checkpoint_has_are_refused(
    run: Path, shapes: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--ckpt_path=last", "--trainer.max_epochs=1"]
    assert "max_epochs" in refusal(capsys, *fit_arguments(shapes, run.parent, *options))


def final_loss(run: Path) -> float:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run))
    events.Reload()
    last = max(events.Scalars("train/loss"), key=lambda event: event.step)
    return last.value


DIES_IN_THE_SECOND_EPOCH = killed_in_second_epoch("cvr_lightning.training.module.RecognitionModule", batch=2)


def test_a_run_that_was_killed_and_resumed_ends_with_the_same_loss(
    run: Path, shapes: Path, tmp_path: Path
) -> None:
    arguments = fit_arguments(shapes, tmp_path, "--data.num_workers=2")
    killed = subprocess.run([sys.executable, "-c", DIES_IN_THE_SECOND_EPOCH, *arguments], cwd=ROOT)
    assert killed.returncode == -signal.SIGKILL
    main([*arguments, "--ckpt_path=last"])
    assert final_loss(tmp_path / "tiny") == final_loss(run)
    resumed, undisturbed = (
        torch.load(path / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
        for path in (tmp_path / "tiny", run)
    )
    for name, weights in undisturbed.items():
        assert torch.equal(resumed[name], weights), name


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
            "--trainer.accelerator auto takes what this machine has",
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
        (["test", "--ckpt_path", "runs"], "needs trained weights, and runs is no .ckpt file: "),
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
        (["fit", "--ckpt_path=/"], "needs trained weights, and / is no .ckpt file"),
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


def test_a_damaged_checkpoint_is_refused_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
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


def test_a_video_is_labeled_alike_in_bfloat16(
    run: Path, shapes: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, checkpoint = str(next(shapes.rglob("*.mp4"))), str(run / "checkpoints" / "last.ckpt")
    probabilities = []
    for precision in ("32", "bf16"):
        main(["classify", file, "--checkpoint", checkpoint, "--json", "--top=10", "--precision", precision])
        predictions = json.loads(capsys.readouterr().out)["predictions"]
        probabilities.append({item["label"]: item["probability"] for item in predictions})
    assert probabilities[0] != probabilities[1]
    assert probabilities[1] == pytest.approx(probabilities[0], abs=0.03)


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


def test_a_run_resumes_from_where_its_callback_writes(tmp_path: Path) -> None:
    trainer = Trainer(
        default_root_dir=tmp_path / "run",
        callbacks=[ModelCheckpoint(dirpath=tmp_path / "elsewhere", filename="last")],
        logger=False,
    )
    with pytest.raises(RunError, match="has no checkpoint to resume from"):
        require_last(trainer)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "last.ckpt").touch()
    require_last(trainer)


def test_processes_of_a_run_share_its_name_and_runs_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    def named(**environment: str) -> str:
        monkeypatch.setattr(os, "environ", environment)
        return default_run_name("test")

    assert named(SLURM_JOB_ID="77", SLURM_STEP_ID="0") == "test-77.0"
    assert named(SLURM_JOB_ID="77", SLURM_STEP_ID="1") == "test-77.1"
    assert named(TORCHELASTIC_RUN_ID="a1") == "test-a1"
    assert named(CVR_RUN="fit-of-the-first-process") == "fit-of-the-first-process"
    by_time = r"test-\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d"
    assert re.fullmatch(by_time, named())
    assert re.fullmatch(by_time, named(SLURM_JOB_ID="77"))  # a shell in a job, which starts many runs
    with pytest.raises(RunError, match="name the run with --run"):
        named(TORCHELASTIC_RUN_ID="none")


def test_options_override_configurations_in_any_order(tmp_path: Path) -> None:
    path = tmp_path / "two.yaml"
    path.write_text("trainer: {max_epochs: 2}")
    given = ["fit", "--trainer.max_epochs=1", "-c", str(path), "--run", "x", f"--config={path}"]
    assert with_bundled_configs(given) == [
        *("fit", "-c", str(path), f"--config={path}"),
        *("--trainer.max_epochs=1", "--run", "x"),
    ]


def test_a_custom_checkpoint_callback_is_added_to_the_default_ones(shapes: Path, tmp_path: Path) -> None:
    own = "{class_path: ModelCheckpoint, init_args: {save_top_k: -1, filename: '{epoch}'}}"
    main(fit_arguments(shapes, tmp_path, f"--trainer.callbacks=[{own}]"))
    kept = {path.name for path in next(tmp_path.rglob("checkpoints")).iterdir()}
    assert kept == {"best.ckpt", "last.ckpt", "epoch=0.ckpt", "epoch=1.ckpt"}


def test_names_that_are_not_utf8_are_preserved(shapes: Path, tmp_path: Path) -> None:
    odd, root, runs = os.fsdecode(b"$caf\xe9_$.mp4"), tmp_path / "odd", tmp_path / "runs"
    shutil.copytree(shapes, root)
    for part in ("val", "test"):
        for folder in (root / part).iterdir():
            next(folder.iterdir()).rename(folder / odd)
    (root / "test" / "left" / odd).write_bytes(b"no video")
    main(fit_arguments(root, runs, "--trainer.max_epochs=1"))
    weights = f"--ckpt_path={runs}/tiny/checkpoints/last.ckpt"
    for command in ("test", "predict"):
        main([command, weights, f"--trainer.default_root_dir={runs}", f"--run={command}", *SKIP])
    assert read_results(runs / "test")["unreadable"] == [f"test/left/{odd}"]
    written = (runs / "predict" / "predictions.csv").read_bytes()
    assert written.count(b"$caf\xe9_$.mp4") == 9


def test_validate_draws_its_images(run: Path, tmp_path: Path) -> None:
    weights = f"--ckpt_path={run}/checkpoints/last.ckpt"
    main(["validate", weights, f"--trainer.default_root_dir={tmp_path}", "--run=once", *TINY_TRAINER])
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tmp_path / "once")).Reload()
    assert "val/confusion_matrix" in events.Tags()["images"]
