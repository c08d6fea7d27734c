"""How runs end: stopped by a signal, without anything to read, at a damaged checkpoint, in any precision."""

import os
import re
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from helpers.tiny_runs import TINY_CLIPS, write_two_classes

from cvr_lightning.cli.main import main
from cvr_lightning.training.module import RecognitionModule

OPTIONS = [
    *TINY_CLIPS,
    "--data.num_workers=0",
    "--data.batch_size=2",
    "--trainer.accelerator=cpu",
    "--trainer.enable_progress_bar=false",
    "--trainer.num_sanity_val_steps=0",
]


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("videos")
    write_two_classes(root, frames=10)
    return root


def fit(videos: Path, runs: Path, *more: str, run: str = "x", command: str = "fit") -> None:
    place = [f"--trainer.default_root_dir={runs}", f"--run={run}"]
    data = ["--data=Unlabeled" if command == "pretrain" else "--data=Folder", f"--data.root={videos}"]
    main([command, *data, *OPTIONS, *place, "--trainer.max_epochs=2", *more])


def score(command: str, weights: Path, runs: Path, *more: str) -> None:
    main([command, f"--ckpt_path={weights}", f"--trainer.default_root_dir={runs}", f"--run={command}", *more])


@pytest.fixture(scope="module")
def trained(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoints of a finished run."""
    runs = tmp_path_factory.mktemp("runs")
    fit(videos, runs)
    return runs / "x" / "checkpoints"


@pytest.fixture
def signaled(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[None]:
    """The first step of an epoch sends a signal to its own process."""
    number, epoch = request.param
    # Background jobs of a shell start with SIGINT ignored, and Lightning ignores it from the first one on.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    step = RecognitionModule.training_step

    def step_with_signal(self, clip, batch_index):
        if self.current_epoch == epoch:
            os.kill(os.getpid(), number)
        return step(self, clip, batch_index)

    monkeypatch.setattr(RecognitionModule, "training_step", step_with_signal)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize(
    ("signaled", "status", "message"),
    [
        ((signal.SIGTERM, 1), 143, "last complete checkpoint is {}; resume with --ckpt_path last"),
        ((signal.SIGINT, 1), 130, "last complete checkpoint is {}; resume with --ckpt_path last"),
        ((signal.SIGINT, 0), 130, "no checkpoint has been written yet"),
    ],
    indirect=["signaled"],
)
@pytest.mark.usefixtures("signaled")
def test_a_signal_ends_a_training_with_its_status_and_how_to_resume(
    videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], status: int, message: str
) -> None:
    with pytest.raises(SystemExit) as stop:
        fit(videos, tmp_path, "--trainer.max_epochs=3")
    assert stop.value.code == status
    assert message.format(tmp_path / "x" / "checkpoints" / "last.ckpt") in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "part"),
    [("fit", "train"), ("fit", "val"), ("pretrain", ""), ("test", "test"), ("predict", "test")],
)
def test_an_epoch_that_reads_nothing_is_an_error_with_the_first_causes(
    videos: Path,
    trained: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    command: str,
    part: str,
) -> None:
    root = tmp_path / "broken"
    shutil.copytree(videos, root, ignore=shutil.ignore_patterns(".cvr_index"))
    for path in (root / part).rglob("*.avi"):
        path.write_bytes(b"no video")
    weights = [f"--ckpt_path={trained / 'last.ckpt'}"] if command in ("test", "predict") else []
    with pytest.raises(SystemExit) as stop:
        fit(root, tmp_path, "--data.on_error=skip", *weights, command=command)
    assert stop.value.code == 1
    error = capsys.readouterr().err
    assert f"none of the {part or 'val'} videos can be read; the first causes:\n  {root}/" in error
    assert not list(tmp_path.rglob("*.ckpt"))
    assert not list(tmp_path.rglob("predictions.csv"))


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "bf16-true", "64-true"])
def test_every_precision_that_a_cpu_has_trains_validates_and_tests(
    videos: Path, tmp_path: Path, precision: str
) -> None:
    fit(videos, tmp_path, f"--trainer.precision={precision}")
    score("test", tmp_path / "x" / "checkpoints" / "last.ckpt", tmp_path)
    assert (tmp_path / "test" / "results.json").is_file()
    assert list((tmp_path / "x").glob("events.out.tfevents.*"))


def test_run_names_may_contain_brackets(videos: Path, tmp_path: Path) -> None:
    run = "a[1]*? {b}"
    fit(videos, tmp_path, "--trainer.max_epochs=1", run=run)
    fit(videos, tmp_path, "--ckpt_path=last", run=run)
    main(["test", f"--ckpt_path={tmp_path / run / 'checkpoints' / 'best.ckpt'}", f"--run={run}"])
    main(["report", str(tmp_path / run), "--output", str(tmp_path / "[report].html")])
    assert "top-1" in (tmp_path / "[report].html").read_text()


def cut(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)


def message(capsys: pytest.CaptureFixture[str], videos: Path, runs: Path, *more: str) -> str:
    with pytest.raises(SystemExit):
        fit(videos, runs, *more)
    return capsys.readouterr().err.rpartition("cvr: ")[2]


def test_a_damaged_last_checkpoint_is_named_with_an_alternative(
    videos: Path, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoints = tmp_path / "x" / "checkpoints"
    shutil.copytree(trained, checkpoints)
    cut(checkpoints / "last.ckpt")
    found = message(capsys, videos, tmp_path, "--ckpt_path=last")
    assert f"{checkpoints}/last.ckpt: not a readable checkpoint" in found
    assert f"; take {checkpoints}/best.ckpt" in found
    (checkpoints / "last.ckpt").unlink()
    assert f"resume with --ckpt_path {checkpoints}/best.ckpt" in message(
        capsys, videos, tmp_path, "--ckpt_path=last"
    )
    assert f"Resume it with --ckpt_path {checkpoints}/best.ckpt" in message(capsys, videos, tmp_path)
    cut(checkpoints / "best.ckpt")
    assert "None is complete: choose another --run, or remove" in message(capsys, videos, tmp_path)


def test_a_run_resumes_despite_a_damaged_best_checkpoint(videos: Path, trained: Path, tmp_path: Path) -> None:
    checkpoints = tmp_path / "x" / "checkpoints"
    shutil.copytree(trained, checkpoints)
    cut(checkpoints / "best.ckpt")
    fit(videos, tmp_path, "--ckpt_path=last", "--trainer.max_epochs=3")


def test_a_training_ends_with_its_score_and_the_next_commands(
    videos: Path,
    trained: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    fit(videos, tmp_path)  # the videos are indexed already
    out = capsys.readouterr().out
    best = tmp_path / "x" / "checkpoints" / "best.ckpt"
    validation, *others = out.strip().splitlines()
    assert re.fullmatch(r"best validation  val/top1 [01]\.\d{4} after epoch [12]", validation)
    assert [line.split(maxsplit=1) for line in others] == [
        ["checkpoint", str(best)],
        ["next", f"cvr test --ckpt_path {best}"],
        ["report", f"cvr report {tmp_path / 'x'}"],
    ]
    assert caplog.messages == [
        "GPU available: False, used: False",
        "Model tiny: 0.31 M parameters, 2 classes",
    ]


def test_a_test_ends_with_the_table_of_its_results(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    score("test", trained / "last.ckpt", tmp_path)
    out = capsys.readouterr().out
    rows = [row for row in out.splitlines() if row.startswith("  ") or row.startswith("Written")]
    assert rows[1].split()[0] == "top-1"
    assert rows[-1] == f"Written to {tmp_path / 'test' / 'results.json'} and scores.npz"
    assert "Written" not in rows[-2]
    assert "energy per video" not in out
    assert caplog.messages == [
        "GPU available: False, used: False",
        f"Loaded model weights from the checkpoint at {trained / 'last.ckpt'}",
    ]
    score("test", trained / "last.ckpt", tmp_path, "--verbose")
    assert "energy per video, theoretical" in capsys.readouterr().out


def test_a_run_outside_the_current_folder_goes_on_again_and_again(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, run = tmp_path / "here", Path("..", "runs", "x")
    here.mkdir()
    monkeypatch.chdir(here)
    fit(videos, run.parent, "--trainer.max_epochs=1")
    for epochs in (2, 3):
        checkpoint = run / "checkpoints" / "last.ckpt"
        main(["fit", f"--ckpt_path={checkpoint}", f"--trainer.max_epochs={epochs}", *OPTIONS])
        assert torch.load(checkpoint, weights_only=True)["epoch"] == epochs - 1
    monkeypatch.chdir(run)
    main(["test", "--ckpt_path=checkpoints/last.ckpt"])
    assert Path("results.json").is_file()
