"""Checks of options that the parser, the trainer or a data set would accept or refuse without naming them."""

from __future__ import annotations

import dataclasses
import inspect
import sys
from collections.abc import Mapping, Sequence
from datetime import timedelta
from types import NoneType
from typing import Any, get_args, get_type_hints

from jsonargparse import Namespace
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import Timer

from cvr_lightning.errors import OptionError

_MAX_PROCESSES = 10_000
_MAX_SEED = 2**32 - 1
"""Largest seed of NumPy's global generator."""


def check_text(arguments: Sequence[str]) -> None:
    """Refuse names that are not text in this locale, which configurations cannot hold.

    Raises:
        OptionError: Names the argument.
    """
    for argument in arguments:
        if not argument.isascii() and any("\ud800" <= letter <= "\udfff" for letter in argument):
            raise OptionError(
                f"{argument}: its bytes are not text in this locale; set LC_ALL=C.UTF-8, or rename the folder"
            )


def check_trainer_options(options: Namespace) -> None:
    """Refuse values for which the trainer's own error does not name the option.

    Args:
        options: Options of a command of the trainer.

    Raises:
        OptionError: Names the option and what it takes.
    """
    seed, trainer = options.seed_everything, options.trainer
    if type(seed) is int and not 0 <= seed <= _MAX_SEED:
        raise OptionError(f"--seed_everything {seed}: must be between 0 and {_MAX_SEED}")
    for name in ("accumulate_grad_batches", "check_val_every_n_epoch"):
        value = trainer[name]
        if value is not None and value < 1:
            raise OptionError(f"--trainer.{name} {value}: must be at least 1")
    for name in ("devices", "num_nodes"):  # a process is started for each
        value = trainer[name]
        if isinstance(value, int | str) and str(value).isdigit() and int(str(value)[:9]) > _MAX_PROCESSES:
            raise OptionError(f"--trainer.{name} {value}: must be at most {_MAX_PROCESSES}")
    _check_interval(trainer.val_check_interval)
    for name in ("pretrained", "iframe_weights"):
        if options.model.get(name) == "":
            raise OptionError(f"--model.{name} is empty: give a file, or leave it out")
    try:
        Timer(trainer.max_time)
    except MisconfigurationException as error:
        raise OptionError(
            f"--trainer.max_time {trainer.max_time!r}: write days:hours:minutes:seconds, such as 00:12:00:00"
        ) from error


def _check_interval(value: Any) -> None:
    name = f"--trainer.val_check_interval {value}"
    if value == 0:
        raise OptionError(f"{name}: must be positive; 1.0 validates once per epoch")
    if isinstance(value, Mapping):  # of timedelta
        try:
            timedelta(**value)
        except (TypeError, OverflowError) as error:
            raise OptionError(
                f"{name}: write a number of batches, a fraction, or a time (00:12:00:00)"
            ) from error


def check_data_options(data: Namespace | None) -> None:
    """Refuse null where a data set does not accept it, which the parser does not check.

    Args:
        data: Class and options of a data set.

    Raises:
        OptionError: Names the option and what it takes.
    """
    if data is None:
        return
    kinds: dict[str, Any] = {}
    module, _, name = data.class_path.rpartition(".")
    for base in reversed(inspect.getmro(getattr(sys.modules[module], name))):
        if "__init__" in vars(base):
            kinds |= _kinds(base.__init__)  # type: ignore[misc]
    _refuse_null("--data", data.get("init_args") or {}, kinds)


def _refuse_null(section: str, values: Any, kinds: Mapping[str, Any]) -> None:
    for name, kind in kinds.items():
        value, option = values.get(name, ...), f"{section}.{name}"
        if value is None and not _takes_null(kind):
            raise OptionError(f"{option} null: leave it out for its default, or give a value")
        if not dataclasses.is_dataclass(kind) or value is ...:
            continue
        if not isinstance(value, Mapping | Namespace | kind):
            raise OptionError(
                f"{option} {value!r}: set its parts, such as {option}.{next(iter(_kinds(kind)))}"
            )
        if not isinstance(value, kind):  # type: ignore[arg-type]
            _refuse_null(option, value, _kinds(kind))


def _kinds(builder: Any) -> dict[str, Any]:
    """Types of the arguments of a class's ``__init__``, or of a dataclass's fields."""
    try:
        return get_type_hints(builder)
    except (NameError, TypeError):  # annotations of a user's class that only a type checker resolves
        return {}


def _takes_null(kind: Any) -> bool:
    return kind in (Any, object, NoneType) or NoneType in get_args(kind)
