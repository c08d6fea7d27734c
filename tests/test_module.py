import math

import pytest
import torch
from factories import make_clip
from torch import nn

from cvr_lightning.models.encoders import StandardisedConv2d
from cvr_lightning.models.neurons import AdaptiveLIF
from cvr_lightning.module import RecognitionModule, warmup_cosine


def test_the_learning_rate_rises_linearly_and_falls_as_a_cosine() -> None:
    rate = [warmup_cosine(step, steps=100, warmup=0.1, final=0.01) for step in range(101)]
    assert rate[:10] == pytest.approx([0.1 * (step + 1) for step in range(10)])
    assert rate[10] == 1.0
    assert rate[55] == pytest.approx(0.01 + 0.99 * (1 + math.cos(math.pi / 2)) / 2)
    assert rate[100] == pytest.approx(0.01)
    assert rate[10:] == sorted(rate[10:], reverse=True)


def test_only_kernels_decay() -> None:
    module = RecognitionModule(["a", "b"])
    decayed, spared = ({id(p) for p in group["params"]} for group in module._parameter_groups())
    everything = {id(parameter) for parameter in module.recognizer.parameters()}
    assert decayed | spared == everything
    assert not decayed & spared
    for layer in module.recognizer.modules():
        if isinstance(layer, AdaptiveLIF | nn.LayerNorm):
            assert {id(parameter) for parameter in layer.parameters()} <= spared
        if isinstance(layer, StandardisedConv2d):
            assert id(layer.weight) in decayed
            assert id(layer.gain) in spared


def test_the_loss_is_the_smoothed_cross_entropy() -> None:
    module = RecognitionModule(list("abcde"), residual_channels=6, label_smoothing=0.2, dropout=0.0)
    module.log = lambda *args, **kwargs: None  # type: ignore[method-assign]
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    module.optimizers = lambda: optimizer  # type: ignore[assignment, method-assign, return-value]
    clip = make_clip()
    loss = module.training_step(clip, 0)
    logs = module(clip).log_softmax(-1)
    target = torch.full((2, 5), 0.2 / 5)
    target[torch.arange(2), clip.label] += 0.8
    assert loss is not None
    torch.testing.assert_close(loss, -(target * logs).sum(-1).mean())


def test_a_batch_that_cannot_be_read_makes_no_step() -> None:
    from cvr_lightning.clip import Sample, collate

    module = RecognitionModule(["a", "b"], residual_channels=6)
    assert module.training_step(collate([Sample(0, 0, 0, "x.avi", None)]), 0) is None


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
