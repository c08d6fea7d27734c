import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.factories import data_options, make_clip
from lightning import Trainer
from torch import nn
from torch.utils.data import DataLoader

from cvr_lightning.datamodules import MotionShapes
from cvr_lightning.errors import CropError, RunError
from cvr_lightning.models.global_motion import GlobalMotionCurrent
from cvr_lightning.models.neurons import AdaptiveLIF
from cvr_lightning.models.pframe_encoder import StandardizedConv2d
from cvr_lightning.training import compiling
from cvr_lightning.training.module import RecognitionModule
from cvr_lightning.training.optimizer import parameter_groups, warmup_cosine
from cvr_lightning.training.pretraining import PretrainingModule


def test_a_single_class_is_refused() -> None:
    with pytest.raises(ValueError, match="has one class, 'a', but classification needs"):
        RecognitionModule(["a"])


def test_the_learning_rate_rises_linearly_and_falls_as_a_cosine() -> None:
    rate = [warmup_cosine(step, steps=100, warmup_ratio=0.1, final_ratio=0.01) for step in range(101)]
    assert rate[:10] == pytest.approx([0.1 * (step + 1) for step in range(10)])
    assert rate[10] == 1.0
    assert rate[55] == pytest.approx(0.01 + 0.99 * (1 + math.cos(math.pi / 2)) / 2)
    assert rate[100] == pytest.approx(0.01)
    assert rate[10:] == sorted(rate[10:], reverse=True)


def test_only_kernels_decay() -> None:
    module = RecognitionModule(["a", "b"])
    decayed, spared = ({id(p) for p in group["params"]} for group in parameter_groups(module, 0.05))
    everything = {id(parameter) for parameter in module.recognizer.parameters()}
    assert decayed | spared == everything
    assert not decayed & spared
    for layer in module.recognizer.modules():
        if isinstance(layer, AdaptiveLIF | GlobalMotionCurrent | nn.LayerNorm):
            assert {id(parameter) for parameter in layer.parameters()} <= spared
        if isinstance(layer, StandardizedConv2d):
            assert id(layer.weight) in decayed
            assert id(layer.gain) in spared


def test_the_learning_rate_of_the_ipath_is_relative_and_all_others_keep_theirs() -> None:
    module = RecognitionModule(["a", "b"], learning_rate=1e-2, iframe_lr=0.1)
    module.trainer = Trainer(logger=False, accelerator="cpu", devices=1, max_steps=100)
    groups = module.configure_optimizers()["optimizer"].param_groups
    of_ipath = set(module.recognizer.iframe_encoder.parameters())
    rates = {parameter: group["initial_lr"] for group in groups for parameter in group["params"]}
    assert rates.keys() == set(module.parameters())
    for parameter, rate in rates.items():
        assert rate == pytest.approx(1e-3 if parameter in of_ipath else 1e-2)


def test_an_ipath_with_learning_rate_zero_is_frozen() -> None:
    module = RecognitionModule(list("abcde"), residual_channels=6, iframe_lr=0.0)
    before = {name: value.clone() for name, value in module.recognizer.state_dict().items()}
    loader = DataLoader([make_clip()], batch_size=None)
    Trainer(logger=False, enable_checkpointing=False, accelerator="cpu", devices=1, max_epochs=1).fit(
        module, loader
    )
    after = module.recognizer.state_dict()
    changed = {name.split(".")[0] for name, value in before.items() if not torch.equal(value, after[name])}
    assert "iframe_encoder" not in changed
    assert {"pframe_encoder", "iframe_tokens", "heads"} <= changed


@pytest.mark.parametrize("option", ["iframe_lr", "modality_loss"])
def test_negative_options_are_refused(option: str) -> None:
    with pytest.raises(ValueError, match=rf"{option}=-1 must not be negative"):
        RecognitionModule(["a", "b"], **{option: -1})


def test_training_and_inference_run_the_compiled_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any) -> Any:
            calls.append(1)
            return function(*args)

        return run

    monkeypatch.setattr(torch, "compile", compiled)
    recognizer = RecognitionModule(["a", "b"], residual_channels=6).recognizer
    recognizer.compile()
    recognizer(make_clip())
    recognizer.modality_logits(make_clip())
    assert len(calls) == 2


@pytest.fixture
def silent_module(monkeypatch: pytest.MonkeyPatch) -> RecognitionModule:
    """A module of five classes outside of any run; what it logs is in ``logged``."""
    module = RecognitionModule(list("abcde"), residual_channels=6, label_smoothing=0.2, dropout=0.0)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    module.logged = {}  # type: ignore[assignment]
    monkeypatch.setattr(module, "log", lambda name, value, **options: module.logged.update({name: value}))
    monkeypatch.setattr(module, "optimizers", lambda: optimizer)
    module.trainer = Trainer(logger=False, accelerator="cpu", devices=1)
    return module


def smoothed_cross_entropy(logits: torch.Tensor, shares: torch.Tensor, smoothing: float) -> torch.Tensor:
    target = (1 - smoothing) * shares + smoothing / shares.shape[1]
    return -(target * logits.log_softmax(-1)).sum(-1).mean()


def test_the_loss_is_the_smoothed_cross_entropy_and_half_of_each_modality_s(
    silent_module: RecognitionModule,
) -> None:
    clip = make_clip()
    shares = nn.functional.one_hot(clip.label, 5).float()
    of_iframes, of_pframes = silent_module.recognizer.modality_logits(clip).values.unbind(1)
    expected = smoothed_cross_entropy(silent_module(clip), shares, 0.2)
    for logits in (of_iframes, of_pframes):
        expected = expected + 0.5 * smoothed_cross_entropy(logits, shares, 0.2)
    torch.testing.assert_close(silent_module.training_step(clip, 0), expected)


def test_a_modality_that_a_clip_lacks_adds_no_loss(silent_module: RecognitionModule) -> None:
    clip = make_clip()
    clip = clip.with_tensors(mask=torch.zeros_like(clip.mask))
    shares = nn.functional.one_hot(clip.label, 5).float()
    expected = 1.5 * smoothed_cross_entropy(silent_module(clip), shares, 0.2)
    torch.testing.assert_close(silent_module.training_step(clip, 0), expected)


def test_mixed_clips_are_trained_on_soft_targets_and_scored_by_the_larger(
    silent_module: RecognitionModule,
) -> None:
    clip = make_clip()
    clip.target = torch.tensor([[0.7, 0.3, 0, 0, 0], [0, 0, 0.4, 0.6, 0]])
    clip.label = torch.tensor([0, 3])
    silent_module.modality_loss = 0.0
    logits = silent_module(clip)
    expected = smoothed_cross_entropy(logits, clip.target, 0.2)
    torch.testing.assert_close(silent_module.training_step(clip, 0), expected)
    silent_module.on_train_batch_end(None, clip, 0)
    right = (logits.argmax(-1) == clip.label).float().mean()
    assert silent_module.logged["train/top1"] == right
    torch.testing.assert_close(silent_module.logged["train/loss"], expected.detach())


def test_a_batch_that_cannot_be_read_steps_with_zero_gradients(silent_module: RecognitionModule) -> None:
    from cvr_lightning.clip import Sample, collate
    from cvr_lightning.codec.errors import UnreadableVideoError

    error = UnreadableVideoError("x.avi", "it is empty")
    clip = collate([Sample(0, 0, 0, "x.avi", error)])
    loss = silent_module.training_step(clip, 0)
    loss.backward()
    assert loss == 0
    for parameter in silent_module.recognizer.parameters():
        assert parameter.grad is not None  # every one, or another process would wait for it
        assert not parameter.grad.any()
    silent_module.on_train_batch_end(None, clip, 0)
    assert silent_module.logged.keys() == {"train/learning_rate"}  # no mean over no clips, in no process


def test_some_steps_learn_the_labels_of_a_batch() -> None:
    torch.manual_seed(0)
    module = RecognitionModule(list("abcde"), residual_channels=6, dropout=0.0)
    clip = make_clip(batch=4)
    optimizer = torch.optim.AdamW(module.parameters(), lr=3e-3)
    for _ in range(30):
        loss = nn.functional.cross_entropy(module(clip), clip.label)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert (module(clip).argmax(-1) == clip.label).all()
    assert loss < 0.2


def test_compile_compiles_the_recognizer_for_training_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    names = list(RecognitionModule(["a", "b"]).state_dict())
    monkeypatch.setattr(compiling, "cannot_compile", lambda device: "")
    for stage, asked, expected in (("fit", True, 1), ("fit", False, 0), ("test", True, 0)):
        module = RecognitionModule(["a", "b"], compile=asked)
        calls: list[str] = []
        monkeypatch.setattr(module.recognizer, "compile", lambda calls=calls: calls.append("compile"))
        module.trainer = Trainer(logger=False, accelerator="cpu", devices=1)
        module.setup(stage)
        assert len(calls) == expected
        assert list(module.state_dict()) == names


@pytest.mark.parametrize(
    ("limits", "options", "message"),
    [
        ({"max_epochs": -1}, {}, "set --trainer.max_epochs or --trainer.max_steps"),
        ({"max_epochs": 1}, {"warmup_ratio": 1.5}, "warmup_ratio=1.5 must be in [0, 1)"),
        ({"max_epochs": 1}, {"warmup_ratio": -0.1}, "warmup_ratio=-0.1 must be in [0, 1)"),
    ],
)
def test_a_schedule_without_an_end_or_a_rise_is_refused(
    limits: dict[str, int], options: dict[str, float], message: str
) -> None:
    module = RecognitionModule(list("abcde"), residual_channels=6, **options)  # type: ignore[arg-type]
    loader = DataLoader([make_clip()], batch_size=None)
    trainer = Trainer(logger=False, enable_checkpointing=False, accelerator="cpu", devices=1, **limits)  # type: ignore[arg-type]
    with pytest.raises(RunError, match=re.escape(message)):
        trainer.fit(module, loader)


@pytest.mark.parametrize("options", [{"crop": 112}, {"crop": 128, "test_crop": 144}])
def test_unsupported_crops_are_refused_before_the_first_step(options: dict[str, int], tmp_path: Path) -> None:
    module = RecognitionModule(["a", "b"])
    module.trainer = Trainer(logger=False, accelerator="cpu", devices=1)
    module.trainer.datamodule = MotionShapes(tmp_path, **data_options(options, size=(160, 216)))  # type: ignore[attr-defined]
    side = max(options.values())
    with pytest.raises(CropError, match=rf"frames of {side}x{side} pixels .* multiple of 32"):
        module.setup("fit")


def test_pretraining_refuses_them_too(tmp_path: Path) -> None:
    module = PretrainingModule()
    module.trainer = Trainer(logger=False, accelerator="cpu", devices=1)
    module.trainer.datamodule = MotionShapes(tmp_path, **data_options(crop=72))  # type: ignore[attr-defined]
    with pytest.raises(CropError, match=r"frames of 72x72 pixels .* multiple of 32"):
        module.setup("fit")
