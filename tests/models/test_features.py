"""Features before the head, and heads for other classes."""

from __future__ import annotations

import pytest
import torch

from cvr_lightning.clip import CompressedClip
from cvr_lightning.models import CompressedVideoRecognizer


def test_the_heads_turn_the_features_into_the_logits(
    recognizer: CompressedVideoRecognizer, clip: CompressedClip
) -> None:
    features = recognizer.forward_features(clip)
    assert features.shape == (len(clip), recognizer.num_features)
    of_iframes, of_pframes = (
        head(own) for head, own in zip(recognizer.heads, features.chunk(2, 1), strict=True)
    )
    torch.testing.assert_close(recognizer(clip), (of_iframes + of_pframes) / 2, rtol=0, atol=0)


def test_a_clip_without_pframes_is_classified_by_its_iframes(
    recognizer: CompressedVideoRecognizer, clip: CompressedClip
) -> None:
    still = clip.with_tensors(mask=torch.zeros_like(clip.mask))
    features = recognizer.forward_features(still)
    torch.testing.assert_close(
        recognizer(still), recognizer.heads[0](features.chunk(2, 1)[0]), rtol=0, atol=0
    )


def test_other_heads_have_other_classes_and_leave_the_features(
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


@pytest.mark.parametrize("training", [True, False])
def test_new_heads_drop_features_in_training_only(
    recognizer: CompressedVideoRecognizer, training: bool
) -> None:
    recognizer.train(training).reset_classifier(3)
    assert {module.training for module in recognizer.heads.modules()} == {training}


def test_a_negative_number_of_classes_is_refused(recognizer: CompressedVideoRecognizer) -> None:
    with pytest.raises(ValueError, match="num_classes=-1 must not be negative"):
        recognizer.reset_classifier(-1)


def test_the_architecture_builds_the_same_model(
    recognizer: CompressedVideoRecognizer, clip: CompressedClip
) -> None:
    twin = CompressedVideoRecognizer(**recognizer.architecture)
    twin.load_state_dict(recognizer.state_dict())
    assert torch.equal(twin.eval()(clip), recognizer(clip))
