"""The argument parser of commands with a data set: short errors, and hints at misspelled names."""

from __future__ import annotations

import difflib
import functools
import inspect
import operator
import re
import sys
from collections.abc import Collection
from types import UnionType
from typing import Any, NoReturn, Union, get_args, get_origin

from jsonargparse import set_parsing_settings
from lightning.pytorch.cli import LightningArgumentParser

from cvr_lightning import datamodules
from cvr_lightning.cli.loggers import forget_default_places
from cvr_lightning.datamodules import CompressedVideoDataModule
from cvr_lightning.files.printable import shown

# Options of any type must not build objects. Releases before 4.53 lack the setting.
if "instantiate_subclass_spec_in_any" in inspect.signature(set_parsing_settings).parameters:
    set_parsing_settings(instantiate_subclass_spec_in_any=False)

_NOISE = re.compile(
    r"""^[ ]*(-[ ])?(
        Does[ ]not[ ]validate[ ]against[ ]any[ ]of[ ]the[ ]Union[ ]subtypes | Subtypes:.* | Errors:
        | Expected[ ]a[ ]<class[ ]'NoneType'> | Given[ ]value[ ]type:.* | Given[ ]value:[ ]NestedArg.*
    )$\n?""",
    re.MULTILINE | re.VERBOSE,
)
"""Lines in which jsonargparse reports its search among an option's types."""
_NO_MODULE = re.compile(r"No module named '(\w+)'")
_UNKNOWN = re.compile(r"unrecognized arguments: --([\w.]+)|does not accept option '([\w.]+)'")
_NOT_ACCEPTED = re.compile(r"class_path '[\w.]*\.(\w+)':\s+Option '(\w+)' is not accepted")


class HelpfulParser(LightningArgumentParser):
    """A parser that shortens errors to what a user can act on."""

    def add_class_arguments(self, theclass: type, *arguments: Any, **options: Any) -> list[str]:
        """Add the options of a class; loggers have no default place."""
        added: list[str] = super().add_class_arguments(theclass, *arguments, **options)
        forget_default_places(self, theclass, added)
        return added

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Exit with 2 after a short message, with a hint for misspelled names."""
        parser = getattr(ex, "subcommand_parser", None) or self
        hint = (
            _import_hint(message)
            or _data_set_hint(message)
            or _option_hint(message, list(parser.get_defaults(skip_validation=True).keys()))
        )
        super().error(shown(_NOISE.sub("", message).rstrip()) + hint, ex)

    def print_usage(self, file: Any = None) -> None:
        """Print one line, since the list of all options would hide the error."""
        print(f"usage: {self.prog.replace(' [options]', '')} [options]", file=file or sys.stdout)


def keep_integers(parser: LightningArgumentParser) -> None:
    """Try integers before floats: 1 batch is not 1.0, which means all batches.

    The trainer's annotations are ``int | float``, but typing caches it as equal to ``float | int`` and
    returns the one created first in the process.
    """
    for action in parser._actions:  # there is no public attribute
        hint = getattr(action, "_typehint", None)
        types = get_args(hint)
        if get_origin(hint) in (Union, UnionType) and int in types and float in types:
            others = [kind for kind in types if kind not in (int, float)]
            action._typehint = functools.reduce(operator.or_, (int, float, *others))  # type: ignore[attr-defined]


def read_no_values(parser: LightningArgumentParser) -> None:
    """Take values literally: never read a file of that name, whose content errors would show."""
    for action in parser._actions:
        if hasattr(action, "_enable_path"):
            action._enable_path = False


def _import_hint(message: str) -> str:
    missing = _NO_MODULE.search(message)
    return f"\n\nImport your own module first: --import {missing[1]}.py" if missing else ""


def _data_set_hint(message: str) -> str:
    names = [name for name in datamodules.__all__ if name != CompressedVideoDataModule.__name__]
    for word in (part.strip("'\",.:=") for part in message.split()):
        close = difflib.get_close_matches(word, names, n=1, cutoff=0.7)
        if close and word not in names:
            return f"\n\nDid you mean {close[0]!r}? The data sets are {', '.join(names)}."
    return ""


def _option_hint(message: str, options: Collection[str]) -> str:
    unknown, not_accepted = _UNKNOWN.search(message), _NOT_ACCEPTED.search(message)
    if not_accepted:
        close = _close_option(f"data.{not_accepted[2]}", _data_options(not_accepted[1]))
    elif unknown:
        close = _close_option(unknown[1] or unknown[2], options)
    else:
        close = None
    return f"\n\nDid you mean --{close}?" if close else ""


def _close_option(name: str, options: Collection[str]) -> str | None:
    """The option with a similar name, with or without its section."""
    full = {option: option for option in options}
    ends = {option.rpartition(".")[2]: option for option in options}
    for spellings in (full, ends):
        close = difflib.get_close_matches(name, spellings, n=1, cutoff=0.8)
        if close:
            return spellings[close[0]]
    return None


def _data_options(data_set: str) -> list[str]:
    """Options of a data set, including those passed to its base classes."""
    bases = inspect.getmro(getattr(datamodules, data_set, object))
    builders = [vars(base)["__init__"] for base in bases if base is not object and "__init__" in vars(base)]
    names = {name for builder in builders for name in inspect.signature(builder).parameters}
    return sorted(f"data.{name}" for name in names - {"self"})
