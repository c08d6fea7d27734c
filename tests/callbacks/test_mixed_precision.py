"""Precisions that are refused, shown, and survived."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.encoders import encode
from helpers.factories import data_options
from lightning import LightningModule, Trainer
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.plugins import MixedPrecision as MixedPrecisionPlugin
from torch import nn

from cvr_lightning.callbacks import MixedPrecision
from cvr_lightning.callbacks.gradients import fractions_out_of_range
from cvr_lightning.callbacks.mixed_precision import check_precision
from cvr_lightning.callbacks.non_finite import locate_non_finite
from cvr_lightning.datamodules import Folder
from cvr_lightning.errors import RunError, TrainingError
from cvr_lightning.training.module import RecognitionModule

SMALL = {
    "segments": 2,
    "pframes": 2,
    "size": (64, 88),
    "crop": 64,
    "batch_size": 2,
    "num_workers": 0,
}
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four training videos: two steps in an epoch."""
    root = tmp_path_factory.mktemp("data")
    for part, count in {"train": 4, "val": 2}.items():
        for number in range(count):
            path = root / part / "ab"[number % 2] / f"{number}.avi"
            path.parent.mkdir(parents=True, exist_ok=True)
            encode(path, (96, 80), frames=8)
    return root


def fit(
    root: Path, folder: Path, *callbacks: Callback, **options: Any
) -> tuple[RecognitionModule, list[dict[str, float]]]:
    """Train a fresh model; gives it and the logged rows, where training ends well."""
    torch.manual_seed(0)
    data = Folder(root, **data_options(SMALL))
    module = RecognitionModule(data.class_names, data.residual_channels)
    logger = CSVLogger(folder, name="", version="")
    trainer = Trainer(
        accelerator="cpu",
        logger=logger,
        callbacks=list(callbacks),
        default_root_dir=folder,
        log_every_n_steps=1,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        **({"max_epochs": 1} | options),
    )
    trainer.fit(module, data)
    with Path(logger.experiment.metrics_file_path).open() as file:
        rows = [{name: float(value) for name, value in row.items() if value} for row in csv.DictReader(file)]
    return module, rows


class BreakFrom(Callback):
    """From an epoch on, a layer's output is multiplied by ``factor``."""

    def __init__(self, epoch: int, layer: str, factor: float = float("inf")) -> None:
        self.epoch, self.layer, self.factor = epoch, layer, factor

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.current_epoch == self.epoch:
            layer = pl_module.get_submodule(self.layer)
            layer.register_forward_hook(lambda module, inputs, output: output * self.factor)


def checkpoints(folder: Path) -> ModelCheckpoint:
    return ModelCheckpoint(
        folder, filename="last", save_on_train_epoch_end=True, enable_version_counter=False
    )


def test_a_diverging_run_stops_and_names_the_module_and_the_last_good_checkpoint(
    root: Path, tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    broken = BreakFrom(2, "recognizer.transformer.blocks.1.fc1")
    watching = MixedPrecision(patience=3)
    with pytest.raises(TrainingError) as stop:
        fit(root, tmp_path, watching, broken, checkpoints(tmp_path), max_epochs=9)
    message = str(stop.value)
    assert "3 steps in a row, to step 6, had no finite gradient" in message
    assert "lost at the output of recognizer.transformer.blocks.1.fc1 (Linear, float32)" in message
    assert f"The last good checkpoint is {tmp_path / 'last.ckpt'}." in message
    skipped = [str(item.message) for item in recwarn if "is skipped" in str(item.message)]
    assert [text.split(",")[0] for text in skipped] == [
        "step 4 is skipped",
        "step 5 is skipped",
        "step 6 is skipped",
    ]
    checkpoint = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert all(bool(torch.isfinite(weights).all()) for weights in checkpoint["state_dict"].values())


def test_a_step_without_a_finite_gradient_changes_no_weight(root: Path, tmp_path: Path) -> None:
    good, _ = fit(root, tmp_path / "good", MixedPrecision())
    broken = BreakFrom(1, "recognizer.heads.1.2")
    kept, rows = fit(root, tmp_path / "kept", MixedPrecision(), broken, max_epochs=2)
    for name, weights in good.state_dict().items():
        assert torch.equal(kept.state_dict()[name], weights), name
    assert [
        row["vitals/precision/skipped_steps"] for row in rows if "vitals/precision/skipped_steps" in row
    ] == [
        0,
        0,
        0,
        1,
    ]


def test_weights_that_are_not_finite_are_not_saved(root: Path, tmp_path: Path) -> None:
    class Poison(Callback):
        def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
            if trainer.current_epoch == 1:
                nn.init.constant_(pl_module.get_parameter("recognizer.heads.1.2.weight"), float("nan"))

    with pytest.raises(
        TrainingError, match=r"the weights recognizer\.heads\.1\.2\.weight are not finite after step 4"
    ):
        fit(root, tmp_path, MixedPrecision(), Poison(), checkpoints(tmp_path), max_epochs=3)
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["epoch"] == 0


def test_the_loss_scale_and_skipped_steps_are_logged(root: Path, tmp_path: Path) -> None:
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**40)
    plugin = MixedPrecisionPlugin("16-mixed", "cpu", scaler)
    _, rows = fit(root, tmp_path, MixedPrecision(patience=100), max_epochs=3, plugins=[plugin])
    rows = [row for row in rows if "vitals/precision/loss_scale" in row]
    assert [row["vitals/precision/loss_scale"] for row in rows] == [2.0 ** (40 - step) for step in range(6)]
    assert [row["vitals/precision/skipped_steps"] for row in rows] == [
        0,
        1,
        2,
        3,
        4,
        5,
    ]  # the sixth is not over
    assert all(0 < row["vitals/precision/gradient_overflow"] <= 1 for row in rows)


@pytest.mark.parametrize(
    ("precision", "computed", "membranes"),
    [
        ("32-true", "weights float32; float32 from AdaptiveLIF", "float32"),
        ("bf16-mixed", "weights float32; bfloat16 from AdaptiveLIF", "float32"),
        ("bf16-true", "weights bfloat16; bfloat16 from AdaptiveLIF", "float32"),
        ("64-true", "weights float64; float64 from AdaptiveLIF", "float64"),
    ],
)
def test_the_dtypes_of_modules_are_reported_once(
    root: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    precision: str,
    computed: str,
    membranes: str,
) -> None:
    with caplog.at_level("INFO"):
        _, rows = fit(root, tmp_path, MixedPrecision(), precision=precision, gradient_clip_val=1.0)
    assert caplog.text.count(f"Precision {precision}: {computed}") == 1
    assert caplog.text.count(f"membranes, traces and thresholds {membranes}: ") == 1
    logged = {name for row in rows for name in row if name.startswith("vitals/precision/")}
    fractions = {f"vitals/precision/gradient_{name}" for name in ("zero", "underflow", "overflow")}
    assert logged == fractions | {"vitals/precision/skipped_steps"}
    assert any("val/loss" in row for row in rows)


@pytest.mark.parametrize(
    ("asked", "given", "message"),
    [
        (
            "16-mixed",
            "bf16-mixed",
            "precision 16-mixed is not available on this cpu: use bf16-mixed or 32-true",
        ),
        (
            "16-true",
            "16-true",
            "precision 16-true is not supported; choose one of 32-true, 64-true, 16-mixed",
        ),
    ],
)
def test_an_unavailable_precision_is_refused(asked: str, given: str, message: str) -> None:
    with pytest.raises(RunError, match=message):
        check_precision(asked, given, CPU)


def test_bfloat16_is_refused_on_a_gpu_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: including_emulation)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Tesla V100")
    message = r"bf16-mixed: Tesla V100 \(cuda:0\) does not compute in bfloat16: use 16-mixed"
    with pytest.raises(RunError, match=message):
        check_precision("bf16-mixed", "bf16-mixed", torch.device("cuda", 0))
    check_precision("16-mixed", "16-mixed", torch.device("cuda", 0))


def test_fractions_of_a_gradient_are_those_of_its_elements() -> None:
    gradient = [
        torch.tensor([0.0, 1.0, float("inf"), -1e-6]),
        torch.tensor([[1e-8, float("nan"), -2.0, 0.0]]),
    ]
    fractions = fractions_out_of_range(gradient, torch.float16, scale=2.0**8)  # 6.1e-5 / 256 = 2.4e-7
    assert {name: float(fraction) for name, fraction in fractions.items()} == {
        "zero": 2 / 8,
        "underflow": 1 / 8,
        "overflow": 2 / 8,
    }


class Chain(nn.Module):
    """Three layers; ``between`` acts on what the first gives."""

    def __init__(self, between: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.between = between
        self.first, self.second, self.third = (nn.Linear(2, 2) for _ in range(3))

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return self.third(self.second(self.between(self.first(values))))


def locate(model: Chain, scale: float = 1.0) -> str | None:
    return locate_non_finite(model, lambda: model(torch.ones(3, 2)).sum(), scale)


def test_a_finite_step_locates_nothing_and_leaves_no_gradient() -> None:
    model = Chain(nn.Identity())
    assert locate(model) is None
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not model.first._forward_hooks


def test_the_first_non_finite_value_is_located() -> None:
    torch.manual_seed(0)
    assert (
        locate(Chain(torch.log)) == "the input of second (Linear, float32)"
    )  # of a negative number, beside it
    backward = Chain(lambda values: torch.sqrt(0 * values))  # 0, whose slope is infinite
    assert locate(backward) == "the gradient of the output of first (float32)"
    poisoned = Chain(nn.Identity())
    nn.init.constant_(poisoned.second.bias, float("nan"))
    assert locate(poisoned) == "the weights second.bias"
    large = Chain(nn.Identity())
    nn.init.constant_(large.second.weight, 3e38)
    nn.init.constant_(large.first.weight, 5.0)
    assert locate(large) == "the output of second (Linear, float32)"
    assert locate(Chain(nn.Identity()), scale=1e39) == "the gradient of the output of third (float32)"
