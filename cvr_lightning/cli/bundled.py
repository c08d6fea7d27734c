"""The configurations that ship with the package: found by name wherever the package is installed."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from cvr_lightning import configs
from cvr_lightning.errors import RunError
from cvr_lightning.files.printable import shown

FOLDER = Path(configs.__file__).parent
_OPTIONS = ("-c", "--config")


def names() -> list[str]:
    """What ``--config`` takes by name, as ``demo`` or ``callbacks/energy``."""
    return sorted(path.relative_to(FOLDER).with_suffix("").as_posix() for path in FOLDER.rglob("*.yaml"))


def with_shipped_configs(arguments: list[str]) -> list[str]:
    """Replace the names of shipped configurations by their paths, and say so; files of the user come first.

    Configurations are put before all other options (:func:`configs_first`).

    Args:
        arguments: A command and its options.

    Raises:
        RunError: Where a configuration is neither a file nor one that ships.
    """
    arguments = configs_first(arguments)
    found = list(arguments)
    for place, argument in enumerate(arguments):
        option, is_joined, value = argument.partition("=")
        if is_joined and option in _OPTIONS:
            found[place] = f"{option}={config_path(value)}"
        elif place and arguments[place - 1] in _OPTIONS:
            found[place] = config_path(argument)
    return found


def configs_first(arguments: list[str]) -> list[str]:
    """Put the configurations right behind the command, in their order: every other option overrides them.

    The parser goes from left to right, and would let a configuration undo an option that stands before it.

    Args:
        arguments: A command and its options.
    """
    named: list[str] = []
    rest: list[str] = []
    for place, argument in enumerate(arguments):
        is_config = argument.partition("=")[0] in _OPTIONS
        is_value = place > 0 and arguments[place - 1] in _OPTIONS
        (named if is_config or is_value else rest).append(argument)
    return [*rest[:1], *named, *rest[1:]]


def config_path(name: str) -> str:
    """Path of the configuration of this name; a file that exists is itself, as is YAML text or a URL.

    Args:
        name: A path, or the name of a shipped configuration: ``demo``, ``configs/demo.yaml``.

    Raises:
        RunError: Where there is neither.
    """
    if Path(name).is_file() or not re.fullmatch(r"[\w.~/\\-]+", name):
        return name
    path = FOLDER / f"{name.removeprefix('configs/').removesuffix('.yaml')}.yaml"
    if not path.is_file():
        raise RunError(
            f"--config {name}: there is no such file, and the package ships none of this name; "
            f"it has {', '.join(names())}"
        )
    print(shown(f"--config {name}: the one that ships with the package, {path}"), file=sys.stderr)
    return str(path)
