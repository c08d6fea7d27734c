"""``cvr fit``: the run directory, loggers, checkpoints and resuming."""

import importlib.metadata
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from helpers.tiny_runs import fit_arguments, killed_in_second_epoch, refusal
from lightning import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from cvr_lightning.cli.bundled import with_bundled_configs
from cvr_lightning.cli.main import main
from cvr_lightning.cli.run_directory import default_run_name, require_last
from cvr_lightning.errors import RunError
from cvr_lightning.tools.report.run import read_curves

ROOT = Path(__file__).resolve().parents[2]


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
    assert about["versions"]["torch"] == importlib.metadata.version("torch")
    assert checkpoint["epoch"] == 1


def test_a_second_run_never_overwrites_the_first(
    run: Path, shapes: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        main(fit_arguments(shapes, run.parent))
    assert stop.value.code == 1
    assert "Resume it with --ckpt_path last" in capsys.readouterr().err


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
