"""Builds models from checkpoints: the package's recognizer, or a custom model given by the caller."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from lightning import Trainer
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor, nn

from cvr_lightning.datamodules import CompressedVideoDataModule
from cvr_lightning.datamodules.sampling import ClipSampling
from cvr_lightning.errors import CheckpointError
from cvr_lightning.files.bounds import CLASSES, LimitError
from cvr_lightning.files.printable import counted
from cvr_lightning.models import CompressedVideoRecognizer
from cvr_lightning.models.recognizer import EXCHANGE_BIAS, HEADS
from cvr_lightning.models.weights import weight_differences
from cvr_lightning.training.architecture import OTHER, architecture_of
from cvr_lightning.training.checkpoint import CHECKPOINT_KEY, read_checkpoint

PREFIX = "recognizer."
"""Prefix of the names of the model's weights in a checkpoint."""
_FREE = ("num_classes", "dropout", "exchange")
"""Options that may differ between a pretrained model and the one that starts from it."""


class Loaded(NamedTuple):
    """Names of the weights that were loaded, and of those left unchanged."""

    loaded: list[str]
    left: list[str]


def recognizer_weights(checkpoint: Mapping[str, Any]) -> dict[str, Tensor]:
    """The recognizer's weights by their names in the recognizer."""
    state: dict[str, Tensor] = checkpoint["state_dict"]
    return {name.partition(PREFIX)[2]: tensor for name, tensor in state.items() if PREFIX in name}


def refuse_other_model(
    checkpoint: Mapping[str, Any], class_names: Sequence[str], architecture: Mapping[str, Any]
) -> None:
    """Check that a checkpoint's weights belong to the classes of the data and to the model that was built.

    Raises:
        CheckpointError: They do not; the message names the difference.
    """
    about = checkpoint.get(CHECKPOINT_KEY, {})
    stored = about.get("class_names", class_names)
    known, here = set(stored), set(class_names)
    if known != here:
        raise CheckpointError(
            f"the checkpoint knows {counted(len(stored), 'class', 'classes')}, the data has "
            f"{len(class_names)}; only in the checkpoint: {sorted(known - here)}, only in the data: "
            f"{sorted(here - known)}. Point --data.root at the same data set, or start from its weights "
            "with cvr fit --model.pretrained"
        )
    if list(stored) != list(class_names):
        index = next(i for i, name in enumerate(stored) if name != class_names[i])
        raise CheckpointError(
            f"the checkpoint and the data number the same {len(stored)} classes differently: {index} is "
            f"{stored[index]!r} in the checkpoint, {class_names[index]!r} in the data. Give the "
            "data the options and annotations of the training run"
        )
    refuse_other_class("the checkpoint", about.get("architecture", {}), architecture)
    differing = _differences(about.get("architecture", {}), architecture, free=("dropout",))
    if differing:
        raise CheckpointError(f"the checkpoint is of another model: {differing}; leave these options out")


def refuse_other_class(source: str, stored: Mapping[str, Any], here: Mapping[str, Any]) -> None:
    """Check that two models are both the package's recognizer, or both custom models.

    Args:
        source: File of the weights, for the message.
        stored: Architecture of the weights.
        here: Architecture of the model to load them into.

    Raises:
        CheckpointError: They are not.
    """
    if OTHER in stored and OTHER not in here:
        raise CheckpointError(
            f"{source} holds the weights of a model of your own, {stored[OTHER][:100]!r}, and a checkpoint "
            "imports nothing: give the model again, by --import FILE.py --model.model CLASS with cvr test or "
            "predict, or by model=... in Python"
        )
    if OTHER in here and OTHER not in stored:
        raise CheckpointError(
            f"{source} holds the weights of a CompressedVideoRecognizer, not of {here[OTHER]}: leave model "
            "out"
        )


def build_model(source: str, checkpoint: Mapping[str, Any], model: nn.Module | None = None) -> nn.Module:
    """The model of a checkpoint with its weights.

    The recognizer is first built on the meta device, since a file's architecture may ask for any amount of
    memory, while the weights exist.

    Args:
        source: The checkpoint, for messages.
        checkpoint: Its checked contents.
        model: The custom model, if the weights are of one.

    Raises:
        CheckpointError: The weights do not fit the model.
    """
    about, weights = checkpoint[CHECKPOINT_KEY], recognizer_weights(checkpoint)
    try:
        CLASSES.check(len(about["class_names"]))
    except LimitError as error:
        raise CheckpointError(f"{source}: {error}") from error
    here = {} if model is None else architecture_of(model, len(about["class_names"]))
    refuse_other_class(source, about["architecture"], here)
    if model is None:
        return _build_own(source, about, weights)
    require_fit(source, model, weights)
    model.load_state_dict(weights)
    return model


def _build_own(
    source: str, about: Mapping[str, Any], weights: dict[str, Tensor]
) -> CompressedVideoRecognizer:
    architecture = about["architecture"]
    try:
        with torch.device("meta"):
            expected = CompressedVideoRecognizer(**architecture).state_dict()
        if _forms(weights) != _forms(expected):
            raise ValueError("weights of other names, shapes or types")
        if architecture["num_classes"] != len(about["class_names"]):
            raise ValueError(f"{architecture['num_classes']} classes with {len(about['class_names'])} names")
        recognizer = CompressedVideoRecognizer(**architecture)
        recognizer.load_state_dict(weights)
    except (RuntimeError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{source}: these weights are of another architecture than this version builds (they were made "
            f"by cvr_lightning {about['versions'].get('cvr_lightning')}); install that version, or train "
            "again"
        ) from error
    return recognizer


def _forms(weights: Mapping[str, Tensor]) -> dict[str, tuple[torch.Size, bool]]:
    """Shape of each weight and whether it is floating point, since loading converts dtypes silently."""
    return {name: (tensor.shape, tensor.is_floating_point()) for name, tensor in weights.items()}


def stored_sampling(source: str, about: Mapping[str, Any]) -> ClipSampling:
    """How the model of a checkpoint reads videos.

    Args:
        source: The checkpoint, for messages.
        about: Its own section.

    Raises:
        CheckpointError: It was written by another version.
    """
    try:
        return ClipSampling.from_dict(about["sampling"])
    except ValueError as error:
        made_by = about["versions"].get("cvr_lightning")
        raise CheckpointError(
            f"{source}: {error} (made by cvr_lightning {made_by}); install that version, or train again"
        ) from error


def adopt_form(checkpoint: Mapping[str, Any], trainer: Trainer) -> None:
    """Let the data of an evaluation be read in the form in which the checkpoint's model saw videos.

    Raises:
        CheckpointError: The checkpoint was written by another version.
    """
    data = getattr(trainer, "datamodule", None)
    if trainer.state.fn != TrainerFn.FITTING and isinstance(data, CompressedVideoDataModule):
        data.adopt_form(stored_sampling("the checkpoint", checkpoint[CHECKPOINT_KEY]))


def load_pretrained(recognizer: CompressedVideoRecognizer, path: str | os.PathLike[str]) -> Loaded:
    """Start a recognizer from the weights of ``cvr pretrain``, or of ``cvr fit`` on other classes.

    Everything except the head is loaded, since the head depends on the classes. Of the attention between
    modalities, which ``cvr pretrain`` always has, the weights are loaded if both models have it.

    Args:
        recognizer: The model to start.
        path: The checkpoint.

    Returns:
        Names of the loaded and of the unchanged weights.

    Raises:
        CheckpointError: The file is missing, damaged or not of this package; its model has another preset or
            other inputs; weights are missing, unknown or of another shape. Nothing is loaded then.
    """
    checkpoint = read_checkpoint(path)
    stored = checkpoint[CHECKPOINT_KEY]["architecture"]
    refuse_other_class(str(path), stored, recognizer.architecture)
    differing = _differences(stored, recognizer.architecture, _FREE)
    if differing:
        raise CheckpointError(
            f"{path}: the weights of another model: {differing}; give both the same options"
        )
    own = recognizer.state_dict()
    found = {
        name: weight
        for name, weight in recognizer_weights(checkpoint).items()
        if not name.startswith(HEADS) and (name in own or not name.endswith(EXCHANGE_BIAS))
    }
    left = [
        name for name in own if name not in found and (name.startswith(HEADS) or name.endswith(EXCHANGE_BIAS))
    ]
    require_fit(str(path), recognizer, found, ignored=left)
    recognizer.load_state_dict(found, strict=False)
    return Loaded(list(found), left)


def _differences(stored: Mapping[str, Any], here: Mapping[str, Any], free: Sequence[str]) -> str:
    """Describe the options in which two models differ; empty if they are equal."""
    return "; ".join(
        f"{name} is {stored[name]!r} there and {here[name]!r} here"
        for name in sorted(stored.keys() & here.keys() - set(free))
        if stored[name] != here[name]
    )


def require_fit(
    source: str, model: nn.Module, found: Mapping[str, Tensor], ignored: Sequence[str] = ()
) -> None:
    """Check that weights are those of a model, by name and shape.

    Args:
        source: File of the weights, for the message.
        model: The model.
        found: The weights.
        ignored: Weights of the model that may be missing.

    Raises:
        CheckpointError: They are not; the message names the first of them.
    """
    own = {name: tensor for name, tensor in model.state_dict().items() if name not in ignored}
    differences = weight_differences(own, found)
    if differences:
        raise CheckpointError(
            f"{source}: these weights do not fit the model: {differences}; give both models the "
            "same options, and train with this version"
        )
