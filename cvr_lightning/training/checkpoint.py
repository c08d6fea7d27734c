"""Checkpoints of this package: contents, and loading without executing anything."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning import Trainer
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor

from cvr_lightning.errors import CheckpointError, cause_of
from cvr_lightning.files.bounds import LimitError
from cvr_lightning.files.printable import counted, without_secrets
from cvr_lightning.training.checkpoint_contents import (
    check_contents,
    check_hyper_parameters,
    check_states,
    is_local,
)
from cvr_lightning.training.checkpoint_file import CheckpointFileError, check_checkpoint_file
from cvr_lightning.training.checkpoint_schema import OPTIMIZERS, taken

_DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float64, torch.int64, torch.int32, torch.bool)
CHECKPOINT_KEY = "cvr_lightning"
"""Key of a checkpoint's section for use without the data set: plain numbers, strings and lists."""


def load_checkpoint(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Load a checkpoint of ``cvr fit`` onto the CPU, weights and plain values only.

    Raises:
        CheckpointError: The file is missing, damaged or not a checkpoint of a trained recognizer.
    """
    checkpoint = read_checkpoint(path)
    if "class_names" not in checkpoint[CHECKPOINT_KEY]:
        raise CheckpointError(
            f"{path}: a checkpoint of `cvr pretrain`, which has no classes; train from it with "
            f"cvr fit --model.pretrained {path}"
        )
    return checkpoint


def load_pretraining(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Load a checkpoint of ``cvr pretrain`` onto the CPU, weights and plain values only.

    Raises:
        CheckpointError: The file is missing, damaged or not a checkpoint of pretraining.
    """
    checkpoint = read_checkpoint(path)
    if "class_names" in checkpoint[CHECKPOINT_KEY]:
        raise CheckpointError(
            f"{path}: a checkpoint of `cvr fit`, which pretraining cannot resume; resume it with "
            f"cvr fit --ckpt_path {path}"
        )
    return checkpoint


def read_checkpoint(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Load and check any checkpoint of this package onto the CPU, weights and plain values only.

    Raises:
        CheckpointError: The file is missing, damaged or not a checkpoint of this package, or contains values
            that :mod:`cvr_lightning.training.checkpoint_schema` does not allow.
    """
    require_local(path)
    if not Path(path).is_file():
        raise CheckpointError(f"{path}: no such checkpoint; `cvr fit` writes them to RUN/checkpoints/")
    try:
        check_checkpoint_file(path)
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many types for damaged files
        # Other errors' texts are numbers, or suggest executing the file.
        reason = "it was not written by torch, or holds more than weights and plain values"
        if isinstance(error, (RuntimeError, OSError, CheckpointFileError, LimitError)):
            reason = cause_of(error).partition(". ")[0]
        raise CheckpointError(
            f"{path}: not a readable checkpoint ({reason}); {_instead_of(Path(path))}"
        ) from error
    if not isinstance(checkpoint, dict) or CHECKPOINT_KEY not in checkpoint:
        raise CheckpointError(
            f"{path}: a checkpoint, but not one that `cvr fit` wrote; give RUN/checkpoints/best.ckpt"
        )
    check_contents(str(path), checkpoint[CHECKPOINT_KEY])
    check_hyper_parameters(str(path), checkpoint.get("hyper_parameters", {}))
    check_states(str(path), checkpoint.get("callbacks", {}))
    check_weights(path, checkpoint.get("state_dict"))
    return checkpoint


def require_local(path: str | os.PathLike[str]) -> None:
    """Refuse addresses of remote files.

    Raises:
        CheckpointError: The path is a URL or a registry's name.
    """
    if not is_local(os.fspath(path)):
        raise CheckpointError(
            f"{without_secrets(os.fspath(path))}: not a local file; download it and give its path"
        )


def check_weights(path: str | os.PathLike[str], weights: Any) -> None:
    """Refuse weights that training cannot produce.

    Raises:
        CheckpointError: Weights are missing, not tensors, larger than their data, or not finite.
    """
    if not isinstance(weights, dict) or not all(isinstance(tensor, Tensor) for tensor in weights.values()):
        raise CheckpointError(f"{path}: it has no weights; copy it again, or train again")
    for name, tensor in weights.items():
        known = tensor.layout == torch.strided and tensor.dtype in _DTYPES
        if not known or tensor.nbytes > tensor.untyped_storage().nbytes():
            raise CheckpointError(f"{path}: the weight {name} is stored in an unsupported way; train again")
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise CheckpointError(
                f"{path}: the weight {name} contains NaN or infinity: training diverged; train again with a "
                "lower --model.learning_rate, or use an earlier checkpoint"
            )


def is_whole(path: Path) -> bool:
    """Whether a checkpoint is complete; partial ones lack the end of the zip file."""
    return path.is_file() and zipfile.is_zipfile(path)


def _instead_of(path: Path) -> str:
    """Advice about a damaged checkpoint."""
    others = [path.with_name(name) for name in ("last.ckpt", "best.ckpt") if name != path.name]
    whole = [str(other) for other in others if is_whole(other)]
    return f"take {' or '.join(whole)}" if whole else "train again or copy it again"


def refuse_other_optimizer(
    checkpoint: Mapping[str, Any], run_config: Mapping[str, Any], trainer: Trainer
) -> None:
    """Check that a resumed training has the same optimizer and schedule as before.

    A checkpoint does not import classes, so they are given again on the command line.

    Raises:
        CheckpointError: They differ.
    """
    if trainer.state.fn != TrainerFn.FITTING or not run_config:
        return
    stored, here = checkpoint.get(CHECKPOINT_KEY, {}).get("config", {}), taken(run_config)
    for name in OPTIMIZERS:
        if stored.get(name) != here.get(name):
            before, now = (str(config.get(name, "the module's own"))[:100] for config in (stored, here))
            raise CheckpointError(
                f"the checkpoint was trained with another --{name}: {before}, not {now}; give --{name} with "
                "its options as in the run that wrote it"
            )


def refuse_fewer_epochs(checkpoint: Mapping[str, Any], trainer: Trainer) -> None:
    """Refuse to resume a training that has already passed ``max_epochs``.

    Raises:
        CheckpointError: It has.
    """
    done, max_epochs = checkpoint.get("epoch", -1) + 1, trainer.max_epochs
    if trainer.state.fn == TrainerFn.FITTING and max_epochs is not None and 0 <= max_epochs < done:
        raise CheckpointError(
            f"the checkpoint was trained for {counted(done, 'epoch')}, more than --trainer.max_epochs "
            f"{max_epochs}; raise max_epochs to continue, or start another --run"
        )
