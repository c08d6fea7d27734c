"""Evaluation, resuming and memory on the device."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.encoders import encode
from helpers.factories import data_options, make_clip
from lightning import Trainer, seed_everything

from cvr_lightning.datamodules import Folder
from cvr_lightning.evaluation.video_table import VideoTable
from cvr_lightning.models import CompressedVideoRecognizer
from cvr_lightning.training.module import RecognitionModule

pytestmark = pytest.mark.gpu
VIDEOS = 5
CLIPS = {"segments": 2, "pframes": 2, "size": (64, 88), "crop": 64, "num_workers": 0}


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes; five videos to test, so that the last batch of two is not full."""
    root = tmp_path_factory.mktemp("videos")
    for subset, count in {"train": 4, "val": 2, "test": VIDEOS}.items():
        for number in range(count):
            path = root / subset / "ab"[number % 2] / f"{number}.avi"
            path.parent.mkdir(parents=True, exist_ok=True)
            encode(path, (96, 80), frames=8 + number)
    return root


def build(videos: Path, **options: object) -> tuple[RecognitionModule, Folder]:
    seed_everything(0, verbose=False)
    data = Folder(videos, **data_options(CLIPS, options))
    return RecognitionModule(data.class_names, data.residual_channels, dropout=0.0), data


def trainer(where: str, folder: Path, **options: object) -> Trainer:
    return Trainer(
        accelerator=where,
        devices=1,
        default_root_dir=folder,
        use_distributed_sampler=False,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **options,
    )


def test_every_video_is_scored_once_and_as_on_the_cpu(device, videos: Path, tmp_path: Path) -> None:
    def test(where: str, batch: int) -> VideoTable:
        module, data = build(videos, batch_size=batch)
        trainer(where, tmp_path, enable_checkpointing=False).test(module, data, verbose=False)
        assert module.table is not None
        return module.table

    where = "gpu" if device.type == "cuda" else device.type
    expected = test("cpu", 2)
    for batch in (2, 3):
        found = test(where, batch)
        assert found.video.tolist() == list(range(VIDEOS))
        np.testing.assert_allclose(found.probabilities, expected.probabilities, atol=0.01)
        assert found.top(1) == expected.top(1)


class KilledError(BaseException):
    """Stands for the end of the process: nothing is written after it."""


def test_a_run_that_ends_and_goes_on_has_the_weights_of_an_undisturbed_one(
    device, videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Up to the order in which the device sums."""
    where = "gpu" if device.type == "cuda" else device.type

    def fit(name: str, path: Path | None = None) -> dict[str, torch.Tensor]:
        module, data = build(videos, batch_size=2)
        run = trainer(where, tmp_path / name, max_epochs=2, num_sanity_val_steps=0)
        run.fit(module, data, ckpt_path=path)
        return {key: value.cpu() for key, value in module.state_dict().items()}

    expected = fit("whole")
    step = RecognitionModule.training_step

    def mortal(self: RecognitionModule, clip: object, index: int) -> torch.Tensor:
        if self.current_epoch == 1:
            raise KilledError
        return step(self, clip, index)

    monkeypatch.setattr(RecognitionModule, "training_step", mortal)
    with pytest.raises(KilledError):
        fit("killed")
    monkeypatch.undo()
    (path,) = (tmp_path / "killed").rglob("*.ckpt")
    found = fit("resumed", path)
    for name, wanted in expected.items():
        torch.testing.assert_close(found[name], wanted, rtol=1e-2, atol=1e-4, msg=name)


@pytest.fixture
def step(card) -> Callable[[torch.dtype], int]:
    """Peak bytes of a training step in a precision, beyond the weights."""

    def peak(dtype: torch.dtype) -> int:
        torch.manual_seed(0)
        model = CompressedVideoRecognizer(5, residual_channels=6).to(card)
        clip = make_clip(batch=16, side=160).to(card)
        torch.cuda.synchronize()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        with torch.autocast("cuda", dtype, enabled=dtype != torch.float32):
            model(clip).float().square().sum().backward()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - before

    return peak


def test_a_step_in_bf16_needs_less_memory_than_in_float32(step) -> None:
    assert step(torch.bfloat16) < 0.9 * step(torch.float32)


def test_memory_does_not_grow_from_batch_to_batch(card) -> None:
    model = CompressedVideoRecognizer(5, residual_channels=6).to(card).eval()
    clip = make_clip(batch=4).to(card)
    found = []
    with torch.inference_mode():
        for _ in range(5):
            model(clip)
            torch.cuda.synchronize()
            found.append(torch.cuda.memory_allocated())
    assert found[1:] == found[1:2] * 4  # the first call may keep workspaces
