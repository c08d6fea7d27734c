"""Refuses checkpoints that contain anything else than training writes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from cvr_lightning import datamodules
from cvr_lightning.errors import CheckpointError
from cvr_lightning.training.checkpoint_schema import (
    ARCHITECTURE,
    DATA,
    FORMAT,
    HYPER_PARAMETERS,
    MODEL,
    OPTIMIZERS,
    SAMPLING,
    TRAINER,
    Kind,
    Never,
    fits,
)

_PACKAGE = datamodules.__name__
_DATA_SETS = [name for name in datamodules.__all__ if name != "CompressedVideoDataModule"]
_SEED: Kind = bool | int | None
_PLAIN: Kind = None | bool | int | float | str | list[int] | list[float] | list[str]
_URL = re.compile(r"[A-Za-z][\w+.-]+:|.*::", re.DOTALL)


def is_local(path: str) -> bool:
    """Whether a path is local, and not a URL or other address."""
    return not _URL.match(path)


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
    """Refuse a stored configuration with names or types that training does not store.

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
    path: str, section: str, values: Any, kinds: Mapping[str, Kind], others: Kind = Never
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
