"""Trained models as folders of two files, without pickle: ``config.json`` and ``model.safetensors``."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from cvr_lightning.errors import CheckpointError
from cvr_lightning.files.atomic import write_output
from cvr_lightning.files.bounds import parse_json, read_text
from cvr_lightning.models.weights import FILE_NAME, HUB, INSTALL, fetch, read_safetensors
from cvr_lightning.training.checkpoint import CHECKPOINT_KEY, check_weights
from cvr_lightning.training.checkpoint_contents import check_contents
from cvr_lightning.training.checkpoint_model import PREFIX

CONFIG_NAME = "config.json"


def write_folder(folder: str | os.PathLike[str], model: nn.Module, about: dict[str, Any]) -> None:
    """Write a model's weights and configuration.

    Args:
        folder: The folder; created if necessary.
        model: The model.
        about: Class names, architecture, sampling, averaging and versions, as in checkpoints.

    Raises:
        CheckpointError: safetensors is not installed.
        OutputError: The files cannot be written.
    """
    try:
        from safetensors.torch import save
    except ImportError as error:
        raise CheckpointError(f"safetensors is not installed; {INSTALL}") from error
    # Clones, since safetensors refuses tensors that share memory.
    weights = {name: tensor.cpu().contiguous().clone() for name, tensor in model.state_dict().items()}
    write_output(Path(folder) / FILE_NAME, save(weights, {"format": "pt"}))
    text = json.dumps({CHECKPOINT_KEY: about}, indent=2)
    write_output(Path(folder) / CONFIG_NAME, f"{text}\n".encode())


def read_folder(source: str | os.PathLike[str]) -> dict[str, Any]:
    """Read such a folder into the form of a checkpoint, and check every value.

    Args:
        source: A folder, or a repository of the hub: ``hub:OWNER/NAME`` or ``hub:OWNER/NAME@REVISION``.

    Raises:
        CheckpointError: It is missing or damaged, or contains values that checkpoints may not contain.
        WeightsError: Its weights cannot be read or downloaded.
    """
    config, weights = (_find(os.fspath(source), name) for name in (CONFIG_NAME, FILE_NAME))
    try:
        values = parse_json(read_text(config))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{config}: cannot be read ({error}); save the model again") from error
    about = values.get(CHECKPOINT_KEY) if isinstance(values, dict) else None
    if not isinstance(about, dict) or "class_names" not in about:
        raise CheckpointError(f"{config}: not written by Classifier.save_pretrained; save the model again")
    check_contents(str(config), about)
    tensors: dict[str, Tensor] = read_safetensors(weights)
    check_weights(weights, tensors)
    state = {f"{PREFIX}{name}": tensor for name, tensor in tensors.items()}
    return {CHECKPOINT_KEY: about, "state_dict": state}


def _find(source: str, name: str) -> Path:
    if source.startswith(HUB):
        return fetch(source, name)
    if not Path(source).is_dir():
        raise CheckpointError(
            f"{source}: no such folder; give a folder of Classifier.save_pretrained, or {HUB}OWNER/NAME"
        )
    return Path(source) / name
