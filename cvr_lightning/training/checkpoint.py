"""Checkpoints of this package: what they hold, and loading them without executing anything in them."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from lightning import Trainer
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor

from cvr_lightning.errors import CheckpointError
from cvr_lightning.files.bounds import CLASSES, LimitError
from cvr_lightning.files.printable import without_secrets
from cvr_lightning.models import CompressedVideoRecognizer
from cvr_lightning.training.checkpoint_file import CheckpointFileError, check_checkpoint_file
from cvr_lightning.training.checkpoint_schema import check_contents, check_states, is_local

CHECKPOINT_KEY = "cvr_lightning"
"""Where a checkpoint keeps what it takes to use it without the data set: numbers, strings and lists."""
PREFIX = "recognizer."
"""In a checkpoint, the recogniser's weights have their own names behind this."""
HEADS = ("head.", "late_fusion.heads.")
"""What the names of the weights that belong to the classes begin with."""
_FREE = ("num_classes", "dropout")
"""What may differ between the model that was pretrained and the one that starts from it."""
_SHOWN = 5


class Loaded(NamedTuple):
    """Names of the weights that were loaded, and of those that were left as they were."""

    loaded: list[str]
    left: list[str]


def load_checkpoint(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Load a checkpoint of ``cvr fit`` onto the CPU, weights and plain values only.

    Raises:
        CheckpointError: Where the file is missing, damaged or not a checkpoint of a trained recogniser.
    """
    checkpoint = read_checkpoint(path)
    if "class_names" not in checkpoint[CHECKPOINT_KEY]:
        raise CheckpointError(
            f"{path}: a checkpoint of `cvr pretrain`, which knows no classes; train from it with "
            f"cvr fit --model.pretrained {path}"
        )
    return checkpoint


def load_pretraining(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Load a checkpoint of ``cvr pretrain`` onto the CPU, weights and plain values only.

    Raises:
        CheckpointError: Where the file is missing, damaged or not a checkpoint of a pretraining.
    """
    checkpoint = read_checkpoint(path)
    if "class_names" in checkpoint[CHECKPOINT_KEY]:
        raise CheckpointError(
            f"{path}: a checkpoint of `cvr fit`, which pretraining cannot resume; go on from it with "
            f"cvr fit --ckpt_path {path}"
        )
    return checkpoint


def read_checkpoint(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Load any checkpoint of this package onto the CPU, weights and plain values only, each checked.

    Raises:
        CheckpointError: Where the file is missing, damaged or not a checkpoint of this package, or holds what
            :mod:`cvr_lightning.training.checkpoint_schema` does not let through.
    """
    require_local(path)
    if not Path(path).is_file():
        raise CheckpointError(f"{path}: no such checkpoint; `cvr fit` writes them to RUN/checkpoints/")
    try:
        check_checkpoint_file(path)
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for damaged files
        # Of other errors the text is a number, or proposes to execute the file.
        reason = "it was not written by torch, or holds more than weights and plain values"
        if isinstance(error, (RuntimeError, OSError, CheckpointFileError, LimitError)):
            reason = str(error).strip().splitlines()[0].partition(". ")[0]
        raise CheckpointError(
            f"{path}: not a readable checkpoint ({reason}); {_instead_of(Path(path))}"
        ) from error
    if not isinstance(checkpoint, dict) or CHECKPOINT_KEY not in checkpoint:
        raise CheckpointError(
            f"{path}: a checkpoint, but not one that `cvr fit` wrote; give RUN/checkpoints/best.ckpt"
        )
    check_contents(str(path), checkpoint[CHECKPOINT_KEY])
    check_states(str(path), checkpoint.get("callbacks", {}))
    check_weights(path, checkpoint.get("state_dict"))
    return checkpoint


def require_local(path: str | os.PathLike[str]) -> None:
    """Refuse the address of a file that lies elsewhere.

    Raises:
        CheckpointError: It is a URL, or a name of some registry.
    """
    if not is_local(os.fspath(path)):
        raise CheckpointError(
            f"{without_secrets(os.fspath(path))}: not a file of this machine; download it, and give its path"
        )


def check_weights(path: str | os.PathLike[str], weights: Any) -> None:
    """Refuse weights that no training leaves behind.

    Raises:
        CheckpointError: There are none, or one of them is no tensor, larger than its data, or not finite.
    """
    if not isinstance(weights, dict) or not all(isinstance(tensor, Tensor) for tensor in weights.values()):
        raise CheckpointError(f"{path}: it holds no weights; copy it anew, or train again")
    for name, tensor in weights.items():
        if tensor.layout != torch.strided or tensor.nbytes > tensor.untyped_storage().nbytes():
            raise CheckpointError(
                f"{path}: the weight {name} is not stored as a training stores it; train again"
            )
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise CheckpointError(
                f"{path}: the weight {name} holds NaN or infinity: its training diverged; train again with a "
                "lower --model.learning_rate, or take an earlier checkpoint"
            )


def is_whole(path: Path) -> bool:
    """Whether a checkpoint has its end, which half-written and half-copied ones lack."""
    return path.is_file() and zipfile.is_zipfile(path)


def _instead_of(path: Path) -> str:
    """What to do about a damaged checkpoint."""
    others = [path.with_name(name) for name in ("last.ckpt", "best.ckpt") if name != path.name]
    whole = [str(other) for other in others if is_whole(other)]
    return f"take {' or '.join(whole)}" if whole else "train again or copy it anew"


def recognizer_weights(checkpoint: Mapping[str, Any]) -> dict[str, Tensor]:
    """The recogniser's weights by their names in the recogniser."""
    state: dict[str, Tensor] = checkpoint["state_dict"]
    return {name.partition(PREFIX)[2]: tensor for name, tensor in state.items() if PREFIX in name}


def refuse_fewer_epochs(checkpoint: Mapping[str, Any], trainer: Trainer) -> None:
    """Check that a training that is resumed has not gone further than it is asked to.

    Raises:
        CheckpointError: It has.
    """
    done, max_epochs = checkpoint.get("epoch", -1) + 1, trainer.max_epochs
    if trainer.state.fn == TrainerFn.FITTING and max_epochs is not None and 0 <= max_epochs < done:
        raise CheckpointError(
            f"the checkpoint was trained for {done} epochs, more than --trainer.max_epochs {max_epochs}; "
            "raise max_epochs to go on, or begin another --run"
        )


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
            f"the checkpoint knows {len(stored)} classes, the data has {len(class_names)}; only in "
            f"the checkpoint: {sorted(known - here)}, only in the data: {sorted(here - known)}. Point "
            "--data.root at the same data set, or start from its weights with cvr fit --model.pretrained"
        )
    if list(stored) != list(class_names):
        index = next(i for i, name in enumerate(stored) if name != class_names[i])
        raise CheckpointError(
            f"the checkpoint and the data number the same {len(stored)} classes differently: {index} is "
            f"{stored[index]!r} in the checkpoint, {class_names[index]!r} in the data. Give the "
            "data the options and annotations of the training run"
        )
    differing = _differences(about.get("architecture", {}), architecture, free=("dropout",))
    if differing:
        raise CheckpointError(f"the checkpoint is of another model: {differing}; leave these options out")


def build_recognizer(checkpoint: Mapping[str, Any]) -> CompressedVideoRecognizer:
    """The model of a checkpoint with its weights.

    It is built without memory first: the architecture may ask for any amount, the weights are there.

    Raises:
        TypeError, ValueError: The architecture is none that this version builds, or another than the weights'
            or the classes'.
    """
    about, weights = checkpoint[CHECKPOINT_KEY], recognizer_weights(checkpoint)
    architecture = about["architecture"]
    CLASSES.check(len(about["class_names"]))
    with torch.device("meta"):
        expected = CompressedVideoRecognizer(**architecture).state_dict()
    shapes = {name: tensor.shape for name, tensor in weights.items()}
    if shapes != {name: tensor.shape for name, tensor in expected.items()}:
        raise ValueError("weights of other shapes")
    if architecture["num_classes"] != len(about["class_names"]):
        raise ValueError(f"{architecture['num_classes']} classes with {len(about['class_names'])} names")
    recognizer = CompressedVideoRecognizer(**architecture)
    recognizer.load_state_dict(weights)
    return recognizer


def load_pretrained(
    recognizer: CompressedVideoRecognizer, architecture: Mapping[str, Any], path: str | os.PathLike[str]
) -> Loaded:
    """Start a recogniser from the weights of ``cvr pretrain``, or of ``cvr fit`` on other classes.

    All but the head is loaded; the head belongs to the classes and stays as it is.

    Args:
        recognizer: The model to start.
        architecture: Its options, as checkpoints store them.
        path: The checkpoint.

    Returns:
        Names of what was loaded, and of what was left.

    Raises:
        CheckpointError: The file is missing, damaged or not of this package; its model has another preset or
            other inputs; weights are missing, unknown or of another shape. Nothing is loaded then.
    """
    checkpoint = read_checkpoint(path)
    stored = checkpoint[CHECKPOINT_KEY]["architecture"]
    differing = _differences(stored, architecture, _FREE)
    if differing:
        raise CheckpointError(
            f"{path}: the weights of another model: {differing}; give both the same options"
        )
    found = {n: w for n, w in recognizer_weights(checkpoint).items() if not n.startswith(HEADS)}
    own = recognizer.state_dict()
    left = [name for name in own if name.startswith(HEADS)]
    _check_names(path, {name: own[name] for name in own if name not in left}, found)
    recognizer.load_state_dict(found, strict=False)
    return Loaded(list(found), left)


def _differences(stored: Mapping[str, Any], here: Mapping[str, Any], free: Sequence[str]) -> str:
    """In what the options of two models differ; empty if in none."""
    return "; ".join(
        f"{name} is {stored[name]!r} there and {here[name]!r} here"
        for name in sorted(stored.keys() & here.keys() - set(free))
        if stored[name] != here[name]
    )


def _check_names(path: str | os.PathLike[str], own: dict[str, Tensor], found: dict[str, Tensor]) -> None:
    problems = {
        "missing": sorted(own.keys() - found.keys()),
        "not of this model": sorted(found.keys() - own.keys()),
        "of another shape": [
            f"{name} {tuple(found[name].shape)} for {tuple(own[name].shape)}"
            for name in sorted(own.keys() & found.keys())
            if own[name].shape != found[name].shape
        ],
    }
    report = [
        f"{len(names)} {what} ({', '.join(names[:_SHOWN])}{', ...' if len(names) > _SHOWN else ''})"
        for what, names in problems.items()
        if names
    ]
    if report:
        raise CheckpointError(
            f"{path}: these weights do not fit the model: {'; '.join(report)}; pretrain with this version "
            "and the options of this model"
        )
