"""Features before the head, and heads for other classes."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from cvr_lightning.clip import CompressedClip
from cvr_lightning.models import CompressedVideoRecognizer


def test_the_head_turns_the_features_into_the_logits(
    recognizer: CompressedVideoRecognizer, clip: CompressedClip
) -> None:
    features = recognizer.forward_features(clip)
    assert features.shape == (len(clip), recognizer.num_features)
    torch.testing.assert_close(recognizer.head(features), recognizer(clip), rtol=0, atol=0)


def test_another_head_has_other_classes_and_leaves_the_features(
    recognizer: CompressedVideoRecognizer, clip: CompressedClip
) -> None:
    before = recognizer.forward_features(clip)
    recognizer.reset_classifier(7)
    assert recognizer(clip).shape == (len(clip), 7)
    assert recognizer.architecture["num_classes"] == 7
    assert torch.equal(recognizer.forward_features(clip), before)


def test_without_classes_the_model_returns_its_features(
    recognizer: CompressedVideoRecognizer, clip: CompressedClip
) -> None:
    recognizer.reset_classifier(0)
    assert torch.equal(recognizer(clip), recognizer.forward_features(clip))


def test_a_new_head_has_the_type_of_the_other_weights(recognizer: CompressedVideoRecognizer) -> None:
    recognizer.double().reset_classifier(3)
    assert {parameter.dtype for parameter in recognizer.parameters()} == {torch.float64}


def test_late_fusion_has_a_new_head_for_each_modality_and_no_common_features(clip: CompressedClip) -> None:
    model = CompressedVideoRecognizer(5, residual_channels=6, ablate=["unified"]).eval()
    model.reset_classifier(7)
    assert model(clip).shape == (len(clip), 7)
    with pytest.raises(ValueError, match="late fusion has no common features"):
        model.forward_features(clip)
    with pytest.raises(ValueError, match="num_classes=0: too few"):
        model.reset_classifier(0)


def test_the_architecture_builds_the_same_model(
    recognizer: CompressedVideoRecognizer, clip: CompressedClip
) -> None:
    twin = CompressedVideoRecognizer(**recognizer.architecture)
    twin.load_state_dict(recognizer.state_dict())
    assert torch.equal(twin.eval()(clip), recognizer(clip))
    assert isinstance(twin.head, nn.Sequential)
