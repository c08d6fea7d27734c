"""The two kinds of models: the package's recognizer, or any module that takes a clip and returns logits."""

from __future__ import annotations

from collections.abc import Mapping
from inspect import signature
from typing import Any

from torch import Tensor, nn

from cvr_lightning.clip import CompressedClip
from cvr_lightning.errors import RunError
from cvr_lightning.models import CompressedVideoRecognizer

OTHER = "model"
"""Key of a custom model's class name in its architecture; the class is never imported."""


def architecture_of(model: nn.Module, num_classes: int) -> dict[str, Any]:
    """Describe a model for checkpoints: options of the recognizer, or class name of a custom model."""
    if isinstance(model, CompressedVideoRecognizer):
        return dict(model.architecture)
    return {OTHER: type(model).__qualname__, "num_classes": num_classes}


def own_recognizer(model: nn.Module, purpose: str) -> CompressedVideoRecognizer:
    """Return the model if it is the package's recognizer.

    Args:
        model: Any model.
        purpose: What needs the recognizer, for the message.

    Raises:
        RunError: It is a custom model.
    """
    if not isinstance(model, CompressedVideoRecognizer):
        kind = type(model).__qualname__
        raise RunError(f"{purpose} needs a CompressedVideoRecognizer, but the model is a {kind}")
    return model


def refuse_options(model: nn.Module, architecture: Mapping[str, Any], training: Mapping[str, Any]) -> None:
    """Refuse options that have no effect when a model is given.

    Args:
        model: The given model.
        architecture: Options that build the package's recognizer.
        training: Training options that apply to the recognizer only.

    Raises:
        ValueError: An option is not at its default, or the model has no ``forward``.
    """
    if type(model).forward is nn.Module.forward:
        raise ValueError(f"the model is a {type(model).__qualname__}, which defines no forward method")
    defaults = {name: item.default for name, item in signature(CompressedVideoRecognizer).parameters.items()}
    defaults |= {"iframe_weights": None, "pretrained": None, "iframe_lr": 1.0}
    is_own = isinstance(model, CompressedVideoRecognizer)
    for name, value in {**architecture, **({} if is_own else training)}.items():
        plain = tuple(value) if isinstance(value, list) else value
        if plain != defaults[name]:
            raise ValueError(
                f"{name}={value!r} is an option of the package's own recognizer, and the model is a "
                f"{type(model).__qualname__}: leave it out"
            )


def checked_logits(model: nn.Module, clip: CompressedClip, classes: int) -> Tensor:
    """Logits (B, classes) of a batch.

    Raises:
        RunError: The model returns something else.
    """
    logits: Tensor = model(clip)
    expected = (len(clip), classes)
    if not isinstance(logits, Tensor) or logits.shape != expected:
        returned = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        kind = type(model).__qualname__
        raise RunError(f"{kind} returned {returned}, expected logits {expected}: (clips, classes)")
    return logits
