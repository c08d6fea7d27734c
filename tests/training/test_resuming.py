"""A run that ends at any batch and goes on ends with the weights of an undisturbed one, bit for bit."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from helpers.encoders import encode
from helpers.tiny_runs import TINY_CLIPS

from cvr_lightning.cli.main import main
from cvr_lightning.training.module import RecognitionModule
from cvr_lightning.training.pretraining import PretrainingModule

EPOCHS, BATCHES = 3, 4
OPTIONS = [
    *TINY_CLIPS,
    "--data.batch_size=2",
    "--data.augmentation.scale_jitter=[1.0,0.75]",
    "--data.augmentation.modality_dropout=0.2",
    f"--trainer.max_epochs={EPOCHS}",
    "--trainer.accelerator=cpu",
    "--trainer.enable_progress_bar=false",
    "--trainer.num_sanity_val_steps=0",
    "--trainer.logger=false",
    "--trainer.callbacks=[{class_path: ModelCheckpoint, init_args: {every_n_train_steps: 1, save_top_k: -1, "
    "filename: '{step}'}}]",
]
COMMANDS: dict[str, tuple[type[RecognitionModule] | type[PretrainingModule], list[str]]] = {
    "fit": (
        RecognitionModule,
        ["--data=Folder", "--data.augmentation.mixup=0.2", "--data.augmentation.cutmix=1.0"],
    ),
    "pretrain": (PretrainingModule, ["--data=Unlabeled", "--data.val_fraction=0.2"]),
}


@pytest.fixture(scope="module", autouse=True)
def single_thread() -> Iterator[None]:
    """The order of a sum is that of one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of four training videos and one for validation: four batches of two an epoch."""
    root = tmp_path_factory.mktemp("videos")
    for subset, count in {"train": 8, "val": 2}.items():
        for number in range(count):
            path = root / subset / "ab"[number % 2] / f"{number}.avi"
            path.parent.mkdir(parents=True, exist_ok=True)
            encode(path, (96, 80), frames=10 + number)
    return root


Train = Callable[..., dict[str, torch.Tensor]]


@pytest.fixture(scope="module")
def train(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> Train:
    """Runs a command in a run directory, and gives the weights that it ends with."""
    runs = tmp_path_factory.mktemp("runs")

    def run(command: str, name: str, workers: int, *more: str) -> dict[str, torch.Tensor]:
        own = [*COMMANDS[command][1], f"--data.root={videos}", f"--data.num_workers={workers}"]
        main([command, *own, *OPTIONS, f"--trainer.default_root_dir={runs}", f"--run={name}", *more])
        path = runs / name / "checkpoints" / "last.ckpt"
        state: dict[str, torch.Tensor] = torch.load(path, weights_only=True)["state_dict"]
        return state

    run.folder = runs  # type: ignore[attr-defined]
    return run


@pytest.fixture(scope="module")
def undisturbed(train: Train) -> dict[str, dict[str, torch.Tensor]]:
    """The weights of a run of each command that nothing disturbs."""
    return {command: train(command, command, 2) for command in COMMANDS}


class KilledError(BaseException):
    """Stands for the end of the process: nothing is written after it."""


@pytest.fixture
def mortal(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, int, int], None]:
    """Makes the training of a command end before a step."""

    def arrange(command: str, epoch: int, batch: int) -> None:
        module = COMMANDS[command][0]
        step = module.training_step

        def mortal_step(self, clip, batch_index):
            if (self.current_epoch, batch_index) == (epoch, batch):
                raise KilledError
            return step(self, clip, batch_index)

        monkeypatch.setattr(module, "training_step", mortal_step)

    return arrange


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(
    ("command", "workers", "batch"),
    [("fit", 0, 2), ("fit", 1, 0), ("fit", 2, 0), ("fit", 2, BATCHES - 1), ("pretrain", 2, 2)],
)
def test_a_killed_run_resumes_bit_for_bit(undisturbed, train, mortal, monkeypatch, command, workers, batch):
    name = f"{command}-{workers}-{batch}"
    mortal(command, 1, batch)
    with pytest.raises(KilledError):
        train(command, name, workers)
    monkeypatch.undo()
    assert same(train(command, name, workers, "--ckpt_path=last"), undisturbed[command])


@pytest.mark.parametrize(("command", "step"), [("fit", 1), ("fit", 8), ("pretrain", 6)])
def test_a_checkpoint_from_the_middle_of_an_epoch_resumes_bit_for_bit(undisturbed, train, command, step):
    path = train.folder / command / "checkpoints" / f"step={step}.ckpt"
    resumed = train(command, f"{command}-step{step}", 2, f"--ckpt_path={path}")
    assert same(resumed, undisturbed[command])


@pytest.mark.parametrize("command", COMMANDS)
def test_a_run_that_saves_every_few_steps_resumes_in_the_middle_of_an_epoch(
    undisturbed, train, mortal, monkeypatch, command
):
    name = f"{command}-every"
    mortal(command, 1, 3)
    with pytest.raises(KilledError):
        train(command, name, 2, "--save_every=3")
    monkeypatch.undo()
    left = torch.load(train.folder / name / "checkpoints" / "last.ckpt", weights_only=True)
    assert left["global_step"] == BATCHES + 2  # the last multiple of 3
    assert same(train(command, name, 2, "--save_every=3", "--ckpt_path=last"), undisturbed[command])


@pytest.mark.parametrize("command", COMMANDS)
def test_a_checkpoint_in_float64_resumes_bit_for_bit(train, command):
    precision = "--trainer.precision=64-true"
    undisturbed = train(command, f"{command}-64", 0, precision)
    path = train.folder / f"{command}-64" / "checkpoints" / "step=6.ckpt"
    assert same(train(command, f"{command}-64-on", 0, precision, f"--ckpt_path={path}"), undisturbed)
