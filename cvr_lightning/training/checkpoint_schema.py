"""Schema of a checkpoint: names and types of every value that affects a later command.

Checkpoints are data. Nothing outside these tables is used: no classes to import except this package's data
sets, no strategy, callback, logger or plugin, and no path to write to.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, get_args

from cvr_lightning.evaluation.provenance import versions

FORMAT = 5
"""Version of a checkpoint's own section and of the names of its weights; other versions are refused."""
MAX_TEXT = 4096
"""Most characters of a name or path."""
Kind = Any
"""``int``, ``float``, ``bool``, ``str``, None, a list of these, a union, or a table of names and kinds."""

TRAINER: dict[str, Kind] = {
    "accumulate_grad_batches": int,
    "gradient_clip_algorithm": str | None,
    "gradient_clip_val": float | None,
    "max_epochs": int | None,
    "max_steps": int,
    "precision": int | str | None,
}
"""Options that resuming needs to reach the same weights, and the precision."""

OPTIMIZERS = ("optimizer", "lr_scheduler")
"""Class names given on the command line, compared when training resumes; never imported."""

RECOGNIZER: dict[str, Kind] = {
    "ablate": list[str],
    "adaptive": bool,
    "dropout": float,
    "exchange": bool,
    "levels": int,
    "mixers": int,
    "preset": str,
}
"""Options of the recognizer that a run gives."""

MODEL: dict[str, Kind] = {
    **RECOGNIZER,
    "averaging": str,
    "compile": bool,
    "final_lr_ratio": float,
    "iframe_lr": float,
    "label_smoothing": float,
    "learning_rate": float,
    "mask_ratio": float,
    "modality_loss": float,
    "warmup_ratio": float,
    "weight_decay": float,
}
"""Without ``iframe_weights`` and ``pretrained``, which the checkpoint's own weights replace."""

HYPER_PARAMETERS: dict[str, Kind] = {
    **{name: kind for name, kind in MODEL.items() if name != "mask_ratio"},
    "class_names": list[str],
    "representation": str,
    "residual_channels": int,
}
"""Arguments with which ``RecognitionModule.load_from_checkpoint`` builds the module."""

SAMPLING: dict[str, Kind] = {
    "accumulate": bool,
    "coefficients": list[int],
    "crop": int,
    "crops": int,
    "form": str,
    "modalities": list[str],
    "parser": str,
    "pframes": int,
    "recipe": {"gop": int, "short_side": int | None, "size": list[int] | None},
    "representation": str,
    "segments": int,
    "size": list[int],
    "views": int,
}

AUGMENTATION: dict[str, Kind] = {
    "color_jitter": float,
    "cutmix": float,
    "flip": bool,
    "mixup": float,
    "modality_dropout": float,
    "scale_jitter": list[float],
}

DATA: dict[str, Kind] = {
    "annotations": str | None,
    "augmentation": AUGMENTATION,
    "batch_size": int,
    "class_order": str,
    "index_dir": None,
    "num_workers": int | None,
    "on_error": str,
    "on_missing": str,
    "protocol": str | None,
    "root": str,
    "sampling": SAMPLING,
    "scene_seed": int,
    "seed": int,
    "split": int,
    "split_seed": int,
    "test_crop": int | None,
    "test_fraction": float,
    "test_subset": str,
    "test_scenes": int,
    "train_scenes": int,
    "val_fraction": float,
    "val_scenes": int,
}
"""``root`` and ``annotations`` are only read; of ``index_dir`` only null is stored."""

ARCHITECTURE: dict[str, Kind] = {
    **RECOGNIZER,
    "model": str,
    "num_classes": int,
    "representation": str,
    "residual_channels": int,
}
"""``model`` is the class name of a custom model, for messages; it is never imported."""


class Never:
    """A kind without values."""


def fits(value: Any, kind: Kind) -> bool:
    """Whether a value is of a kind; integers are valid floats, infinite floats are not."""
    if isinstance(kind, Mapping):
        known = isinstance(value, Mapping) and value.keys() <= kind.keys()
        return known and all(fits(item, kind[name]) for name, item in value.items())
    choices = get_args(kind)
    if kind is None or kind is type(None):
        return value is None
    if getattr(kind, "__origin__", None) is list:
        return type(value) is list and all(fits(item, choices[0]) for item in value)
    if choices:
        return any(fits(value, choice) for choice in choices)
    if kind is float:
        return type(value) in (int, float) and math.isfinite(value)
    return type(value) is kind and (kind is not str or len(value) <= MAX_TEXT)


def own_section(architecture: Mapping[str, Any], config: Mapping[str, Any], **others: Any) -> dict[str, Any]:
    """A checkpoint's own section.

    Args:
        architecture: Description of the model.
        config: Configuration of the run, of which later commands get a part.
        **others: What only a trained recognizer has.
    """
    about = {"format": FORMAT, "architecture": architecture, "config": taken(config), "versions": versions()}
    return {**about, **others}


def taken(config: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a run's configuration that checkpoints store for later commands."""
    data = config.get("data") or {}
    stored = {
        "seed_everything": config.get("seed_everything"),
        "trainer": chosen(config.get("trainer"), TRAINER),
        "model": chosen(config.get("model"), MODEL),
        "data": {
            "class_path": data.get("class_path"),
            "init_args": chosen(data.get("init_args"), DATA),
        },
    }
    stored |= {name: config[name].get("class_path") for name in OPTIMIZERS if config.get(name)}
    return {name: value for name, value in stored.items() if config.get(name) is not None}


def chosen(section: Mapping[str, Any] | None, kinds: Mapping[str, Kind]) -> dict[str, Any]:
    """The values of a section that a table contains."""
    return {name: value for name, value in (section or {}).items() if fits(value, kinds.get(name, Never))}
