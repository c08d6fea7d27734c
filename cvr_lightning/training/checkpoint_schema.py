"""Schema of a checkpoint: names and types of every value that affects a later command.

Checkpoints are data. Nothing outside these tables is used: no classes to import except this package's data
sets, no strategy, callback, logger or plugin, and no path to write to.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, get_args

from cvr_lightning import datamodules
from cvr_lightning.errors import CheckpointError

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

MODEL: dict[str, Kind] = {
    "adaptive": bool,
    "averaging": str,
    "compile": bool,
    "dropout": float,
    "exchange": bool,
    "final_lr_ratio": float,
    "iframe_lr": float,
    "label_smoothing": float,
    "learning_rate": float,
    "levels": int,
    "mask_ratio": float,
    "mixers": int,
    "modality_loss": float,
    "preset": str,
    "warmup_ratio": float,
    "weight_decay": float,
    "ablate": list[str],
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
    "adaptive": bool,
    "dropout": float,
    "exchange": bool,
    "levels": int,
    "mixers": int,
    "model": str,
    "num_classes": int,
    "preset": str,
    "representation": str,
    "residual_channels": int,
    "ablate": list[str],
}
"""``model`` is the class name of a custom model, for messages; it is never imported."""

_PACKAGE = datamodules.__name__
_DATA_SETS = [name for name in datamodules.__all__ if name != "CompressedVideoDataModule"]
_SEED: Kind = bool | int | None
_PLAIN: Kind = None | bool | int | float | str | list[int] | list[float] | list[str]
_URL = re.compile(r"[A-Za-z][\w+.-]+:|.*::", re.DOTALL)


class _Never:
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


def is_local(path: str) -> bool:
    """Whether a path is local, and not a URL or other address."""
    return not _URL.match(path)


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
    return {name: value for name, value in (section or {}).items() if fits(value, kinds.get(name, _Never))}


def check_contents(path: str, about: Any) -> None:
    """Refuse a checkpoint's own section if it contains anything that training does not write.

    Args:
        path: File name for errors.
        about: The section.

    Raises:
        CheckpointError: The format, a name or the type of a value is unknown.
    """
    _check_format(path, about)
    kinds: dict[str, Kind] = {"format": int, "class_names": list[str], "averaging": str}
    sections = {"architecture": ARCHITECTURE, "sampling": SAMPLING, "versions": {}, "config": {}}
    _check_names(path, "", about, kinds.keys() | sections.keys())
    for name, kind in kinds.items():
        if name in about and not fits(about[name], kind):
            raise _refused(path, name)
    for name, known in sections.items():
        if name in about and name != "config":
            _check_values(path, name, about[name], known, others=str if name == "versions" else _PLAIN)
    _require(path, about, "architecture", "versions")
    if "class_names" in about:
        _require(path, about, "sampling", "averaging")
    check_config(path, about.get("config", {}))


def _check_format(path: str, about: Any) -> None:
    found = about.get("format") if isinstance(about, Mapping) else None
    if type(found) is not int or found != FORMAT:
        raise CheckpointError(
            f"{path}: written by another version of cvr_lightning (this one reads format {FORMAT}); "
            "train again"
        )


def check_config(path: str, config: Any) -> None:
    """Refuse a stored configuration with names or types that :func:`taken` does not store.

    Raises:
        CheckpointError: Names the value.
    """
    _check_names(path, "config", config, {"seed_everything", "trainer", "model", "data", *OPTIMIZERS})
    for name in OPTIMIZERS:
        if not fits(config.get(name), str | None):
            raise _refused(path, f"config.{name}")
    if not fits(config.get("seed_everything"), _SEED):
        raise _refused(path, "config.seed_everything")
    for name, kinds in (("trainer", TRAINER), ("model", MODEL)):
        _check_values(path, f"config.{name}", config.get(name, {}), kinds)
    data = config.get("data", {})
    _check_names(path, "config.data", data, {"class_path", "init_args"})
    if not fits(data.get("class_path"), str | None):
        raise _refused(path, "config.data.class_path")
    _check_values(path, "config.data", data.get("init_args", {}), DATA)


def check_hyper_parameters(path: str, values: Any) -> None:
    """Refuse arguments of a module with names or types that training does not store.

    Raises:
        CheckpointError: Names the value.
    """
    _check_values(path, "hyper_parameters", values, HYPER_PARAMETERS)


def own_data_set(class_path: str | None) -> str | None:
    """Import path of a data set of this package; None for other classes, which are never imported."""
    module, _, name = (class_path or "").rpartition(".")
    ours = (module == _PACKAGE or module.startswith(f"{_PACKAGE}.")) and name in _DATA_SETS
    return f"{_PACKAGE}.{name}" if ours else None


def check_states(path: str, states: Any) -> None:
    """Refuse callback states with paths outside the run, since callbacks delete files that they remember.

    Raises:
        CheckpointError: A path contains ``..``, or is an address.
    """
    if isinstance(states, str):
        if ".." in re.split(r"[/\\]", states) or "://" in states or "::" in states:
            raise _refused(path, "callbacks")
    elif isinstance(states, Mapping):
        for name, value in states.items():
            check_states(path, name)
            check_states(path, value)
    elif isinstance(states, list | tuple):
        for value in states:
            check_states(path, value)


def _check_names(path: str, section: str, values: Any, known: Any) -> None:
    if not isinstance(values, Mapping):
        raise _refused(path, section or "its contents")
    for name in values:
        if name not in known:
            raise _refused(path, f"{section}.{name}" if section else str(name))


def _check_values(
    path: str, section: str, values: Any, kinds: Mapping[str, Kind], others: Kind = _Never
) -> None:
    if not isinstance(values, Mapping):
        raise _refused(path, section)
    for name, value in values.items():
        if not (fits(name, str) and fits(value, kinds.get(name, others))):
            raise _refused(path, f"{section}.{name}")


def _require(path: str, about: Mapping[str, Any], *names: str) -> None:
    for name in names:
        if name not in about:
            raise CheckpointError(f"{path}: it has no {name}; copy it again, or train again")


def _refused(path: str, name: str) -> CheckpointError:
    return CheckpointError(
        f"{path}: refused: a checkpoint may not contain this value of {name[:100]!r}; use one that this "
        "version of cvr_lightning wrote"
    )
