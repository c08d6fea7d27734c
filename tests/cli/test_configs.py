"""Every bundled configuration trains and tests, on a tiny copy of its data set with the true structure."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest
import torch
import yaml
from helpers.tiny_datasets import Clips, write_hmdb51, write_kinetics, write_ssv2, write_ucf101
from helpers.tiny_runs import TINY_CLIPS

from cvr_lightning.cli.main import main

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
TINY = [
    *TINY_CLIPS,
    "--data.augmentation.scale_jitter=[1.0]",  # the frames are as high as the crop
    "--data.num_workers=0",
    "--data.batch_size=2",
    "--trainer.max_epochs=1",
    "--trainer.limit_train_batches=2",
    "--trainer.accelerator=cpu",
    "--trainer.enable_progress_bar=false",
    "--run=tiny",
]


def write_shapes(root: Path, clips: Clips) -> Path:
    """The embedded data set, which writes itself."""
    from cvr_lightning.datamodules import MotionShapes

    MotionShapes(root, train_scenes=1, val_scenes=1, test_scenes=1).prepare_data()
    return root


class Case(NamedTuple):
    """What a configuration is run on, and what its results must say."""

    write: Callable[[Path, Clips], Path]
    options: list[str]
    classes: int
    protocol: dict[str, object]
    videos: int
    unreadable: int = 0
    missing: Mapping[str, int] = MappingProxyType({})


DAMAGED, MISSING = 1, 1
CASES = {
    "demo.yaml": Case(
        write_shapes,
        ["--data.train_scenes=1", "--data.val_scenes=1", "--data.test_scenes=1"],
        10,
        {"dataset": "MotionShapes", "subset": "test"},
        videos=10,
    ),
    "folder.yaml": Case(write_shapes, [], 10, {"dataset": "Folder", "subset": "test"}, videos=10),
    "ucf101.yaml": Case(
        write_ucf101,
        ["--data.split=1"],
        3,
        {"dataset": "UCF101", "subset": "test", "split": 1},
        videos=6 - MISSING,
        missing={"test": MISSING},
    ),
    "hmdb51.yaml": Case(
        write_hmdb51,
        ["--data.split=2", "--data.class_order=coviar"],
        51,
        {"dataset": "HMDB51", "subset": "test", "split": 2},
        videos=4,
    ),
    "kinetics400.yaml": Case(
        write_kinetics,
        [],
        4,
        {"dataset": "Kinetics400", "subset": "val"},
        videos=6 - MISSING - DAMAGED,
        unreadable=DAMAGED,
        missing={"val": MISSING},
    ),
    "kinetics600.yaml": Case(
        lambda root, clips: write_kinetics(root, clips, "flat"),
        [],
        4,
        {"dataset": "Kinetics600", "subset": "val"},
        videos=6 - MISSING - DAMAGED,
        unreadable=DAMAGED,
        missing={"val": MISSING},
    ),
    "ssv2.yaml": Case(
        write_ssv2,
        [],
        3,
        {"dataset": "SomethingSomethingV2", "subset": "val"},
        videos=4 - MISSING,
        missing={"val": MISSING},
    ),
}


OVERLAYS = ("ddp.yaml", "slurm.yaml")
"""Laid over an experiment, and parsed there with its options."""


def test_every_configuration_has_a_case() -> None:
    others = {"pretrain.yaml", "imagenet.yaml"}  # the first in test_pretraining.py, the second below
    assert {*CASES, *OVERLAYS} | others == {path.name for path in CONFIGS.glob("*.yaml")}


@pytest.mark.parametrize("overlay", OVERLAYS)
@pytest.mark.parametrize("watched", ["precision", "processes"])
def test_overlay_configurations_fit_an_experiment(
    overlay: str, watched: str, capsys: pytest.CaptureFixture[str]
) -> None:
    files = ["demo.yaml", overlay, f"callbacks/{watched}.yaml"]
    with pytest.raises(SystemExit) as stop:
        main(["fit", *(f"--config={CONFIGS / file}" for file in files), "--print_config"])
    assert stop.value.code == 0
    trainer = yaml.safe_load(capsys.readouterr().out)["trainer"]
    assert trainer["max_epochs"] == 8  # of the experiment
    options = trainer["strategy"]["init_args"]
    assert (options["gradient_as_bucket_view"], options["static_graph"]) == (True, False)
    assert trainer["num_nodes"] == (2 if overlay == "slurm.yaml" else 1)
    (callback,) = trainer["callbacks"]
    names = {"precision": "MixedPrecision", "processes": "DDPMonitor"}
    assert callback["class_path"] == f"cvr_lightning.callbacks.{names[watched]}"


def test_imagenet_weights_are_added_to_an_experiment(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(
            ["fit", *(f"--config={CONFIGS / file}.yaml" for file in ("hmdb51", "imagenet")), "--print_config"]
        )
    config = yaml.safe_load(capsys.readouterr().out)
    chosen = {name: config["model"][name] for name in ("preset", "iframe_weights", "iframe_lr")}
    assert chosen == {"preset": "lite", "iframe_weights": "imagenet", "iframe_lr": 0.0}
    assert config["data"]["class_path"].endswith("HMDB51")


@pytest.fixture(scope="module")
def train(clips: Clips, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Train a configuration on its data, once for all tests; gives the run directory."""

    @cache
    def run(config: str) -> Path:
        folder = tmp_path_factory.mktemp(config.partition(".")[0])
        root = CASES[config].write(folder / "data", clips)
        paths = [
            f"--config={CONFIGS / config}",
            f"--data.root={root}",
            f"--trainer.default_root_dir={folder}",
        ]
        main(["fit", *paths, *TINY, *CASES[config].options])
        return folder / "tiny"

    return run


def evaluate(command: str, run: Path, *options: str) -> dict[str, Any]:
    """Run ``test`` or ``predict`` on the last checkpoint of a run; gives its results."""
    main([command, f"--ckpt_path={run / 'checkpoints' / 'last.ckpt'}", *options])
    return json.loads((run / "results.json").read_text()) if command == "test" else {}


@pytest.mark.parametrize("config", CASES)
def test_every_configuration_trains_and_tests(config: str, train: Callable[[str], Path]) -> None:
    case, run = CASES[config], train(config)
    results = evaluate("test", run)
    assert {key: results["protocol"].get(key) for key in case.protocol} == case.protocol
    assert (results["videos"], len(results["unreadable"])) == (case.videos, case.unreadable)
    assert results["missing"] == sum(case.missing.values())
    about = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["cvr_lightning"]
    assert len(set(about["class_names"])) == case.classes
    missing = {path.stem: len(path.read_text().splitlines()) for path in run.glob("missing_*.txt")}
    assert missing == {f"missing_{subset}": count for subset, count in case.missing.items()}


def test_numbering_the_classes_otherwise_is_refused(
    train: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        evaluate("test", train("hmdb51.yaml"), "--data.class_order=alphabetical")
    assert "0 is 'smile' in the checkpoint, 'brush_hair' in the data" in capsys.readouterr().err


def test_videos_without_labels_are_predicted_and_not_scored(train: Callable[[str], Path]) -> None:
    run = train("ssv2.yaml")
    evaluate("predict", run, "--data.test_subset=test")
    lines = (run / "predictions.csv").read_text().splitlines()
    assert [line.split(",")[0].rpartition("/")[2] for line in lines[1:]] == ["1420.mp4", "1421.mp4"]
    results = evaluate("test", run, "--data.test_subset=test")
    assert (results["top1"], results["videos"], results["protocol"]["subset"]) == (None, 2, "test")


def test_decoded_frames_of_unprepared_videos_train_test_and_classify(
    clips: Clips, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_ssv2(tmp_path / "data", clips, ".webm")
    arguments = [f"--data.root={root}", f"--trainer.default_root_dir={tmp_path}", *TINY]
    main(["fit", f"--config={CONFIGS / 'ssv2.yaml'}", *arguments, "--data.sampling.representation=rgb"])
    results = evaluate("test", tmp_path / "tiny")
    assert (results["videos"], results["protocol"]["representation"]) == (3, "rgb")
    assert "decoded frames" in capsys.readouterr().out
    video = root / "20bn-something-something-v2" / "74225.webm"
    main(["classify", str(video), "--checkpoint", str(tmp_path / "tiny" / "checkpoints" / "last.ckpt")])
    assert "Moving something" in capsys.readouterr().out


def test_unprepared_videos_end_in_one_message(
    clips: Clips, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_ssv2(tmp_path / "data", clips, ".webm")
    arguments = [f"--data.root={root}", f"--trainer.default_root_dir={tmp_path}", *TINY]
    with pytest.raises(SystemExit) as stop:
        main(["fit", f"--config={CONFIGS / 'ssv2.yaml'}", *arguments])
    assert stop.value.code == 1
    message = capsys.readouterr().err
    for text in ("78687.webm: codec vp9", "prepare", "Traceback"):
        assert (text in message) == (text != "Traceback")
