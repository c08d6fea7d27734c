"""``--optimizer`` and ``--lr_scheduler`` in the place of the modules' own."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.encoders import encode
from lightning import LightningModule, Trainer
from lightning.pytorch import Callback

from cvr_lightning.cli import trainer as cli
from cvr_lightning.cli.main import main
from cvr_lightning.training.optimizer import warmup_cosine

EPOCHS, BATCHES = 2, 4


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("videos")
    for number in range(10):
        path = root / ("train" if number < 8 else "val") / "ab"[number % 2] / f"{number}.avi"
        path.parent.mkdir(parents=True, exist_ok=True)
        encode(path, (96, 80), frames=10)
    return root


class Watch(Callback):
    """Keeps the optimizer, and the learning rate of each step."""

    def __init__(self) -> None:
        self.rates: list[float] = []
        self.optimizer: Any = None

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        self.optimizer = trainer.optimizers[0]
        self.rates.append(self.optimizer.param_groups[0]["lr"])


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Watch:
    watch = Watch()
    monkeypatch.setattr(cli, "default_callbacks", lambda command: [])
    own = cli._own_checkpoints
    monkeypatch.setattr(cli, "_own_checkpoints", lambda *names: [*own(*names), watch])
    return watch


def run(videos: Path, folder: Path, *options: str, command: str = "fit") -> None:
    data = "Folder" if command == "fit" else "Unlabeled"
    main(
        [
            *(
                command,
                f"--data={data}",
                f"--data.root={videos}",
                "--data.batch_size=2",
                "--data.num_workers=0",
            ),
            *("--data.sampling.segments=2", "--data.sampling.pframes=2", "--data.sampling.size=[64,88]"),
            *("--data.sampling.crop=64", f"--trainer.default_root_dir={folder}", "--trainer.logger=false"),
            *("--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false"),
            *(f"--trainer.max_epochs={EPOCHS}", *options),
        ]
    )


SGD = ("--optimizer=SGD", "--optimizer.lr=0.1", "--optimizer.momentum=0.9")


def test_an_optimizer_keeps_the_modules_schedule_by_step(videos: Path, tmp_path: Path, watch: Watch) -> None:
    run(videos, tmp_path, *SGD, "--model.warmup_ratio=0.25", "--run=a")
    steps = EPOCHS * BATCHES
    expected = [0.1 * warmup_cosine(step, steps, 0.25, 0.01) for step in range(steps)]
    assert isinstance(watch.optimizer, torch.optim.SGD)
    assert watch.optimizer.param_groups[0]["momentum"] == 0.9
    assert watch.rates == pytest.approx(expected)


@pytest.mark.parametrize(("interval", "every"), [([], BATCHES), (["--lr_interval=step"], 1)])
def test_a_scheduler_advances_by_epoch_or_by_step(
    interval: list[str], every: int, videos: Path, tmp_path: Path, watch: Watch
) -> None:
    halved = ("--lr_scheduler=ExponentialLR", "--lr_scheduler.gamma=0.5")
    run(videos, tmp_path, *SGD, *halved, *interval, "--run=a")
    assert watch.rates == pytest.approx([0.1 * 0.5 ** (step // every) for step in range(EPOCHS * BATCHES)])


def test_a_scheduler_that_waits_for_a_plateau_watches_its_metric(
    videos: Path, tmp_path: Path, watch: Watch
) -> None:
    plateau = (
        "--lr_scheduler=ReduceLROnPlateau",
        "--lr_scheduler.monitor=val/loss",
        "--lr_scheduler.patience=0",
    )
    run(
        videos, tmp_path, *SGD, *plateau, "--lr_scheduler.threshold=1000", "--lr_scheduler.threshold_mode=abs"
    )
    assert watch.rates == pytest.approx([0.1] * EPOCHS * BATCHES)


def test_pretraining_takes_them_too(videos: Path, tmp_path: Path, watch: Watch) -> None:
    run(videos, tmp_path, *SGD, "--data.val_fraction=0.2", "--run=a", command="pretrain")
    assert isinstance(watch.optimizer, torch.optim.SGD)
    assert watch.rates[-1] < watch.rates[0]


def test_without_them_the_modules_own_are_used(videos: Path, tmp_path: Path, watch: Watch) -> None:
    run(videos, tmp_path, "--run=a")
    assert isinstance(watch.optimizer, torch.optim.AdamW)
    assert watch.rates[0] == pytest.approx(2e-3)


def test_a_scheduler_without_an_optimizer_is_refused(
    videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        run(videos, tmp_path, "--lr_scheduler=ExponentialLR", "--lr_scheduler.gamma=0.5")
    assert "--lr_scheduler needs --optimizer" in capsys.readouterr().err


def test_training_resumes_with_the_same_optimizer_alone(
    videos: Path, tmp_path: Path, watch: Watch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(videos, tmp_path, *SGD, "--run=a")
    checkpoint = f"--ckpt_path={tmp_path}/a/checkpoints/last.ckpt"
    more = [
        checkpoint,
        f"--trainer.default_root_dir={tmp_path}",
        "--trainer.max_epochs=3",
        "--trainer.enable_progress_bar=false",
        "--trainer.logger=false",
    ]
    with pytest.raises(SystemExit):
        main(["fit", *more])
    message = (
        r"trained with another --optimizer: torch\.optim\.\w*\.?SGD, not the module's own; give --optimizer"
    )
    assert re.search(message, capsys.readouterr().err)
    watch.rates.clear()
    main(["fit", *more, *SGD])
    assert isinstance(watch.optimizer, torch.optim.SGD)
    assert len(watch.rates) == BATCHES
    main(["validate", *more[:2], more[3]])
