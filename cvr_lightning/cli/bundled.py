"""Bundled configurations, found by name."""

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
    """Names that ``--config`` takes, such as ``demo`` or ``callbacks/energy``."""
    return sorted(path.relative_to(FOLDER).with_suffix("").as_posix() for path in FOLDER.rglob("*.yaml"))


def with_bundled_configs(arguments: list[str]) -> list[str]:
    """Replace names of bundled configurations by their paths and print them; a user's files take precedence.

    Moves configurations before all other options (:func:`configs_first`).

    Args:
        arguments: A command and its options.

    Raises:
        RunError: A configuration is neither a file nor bundled.
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
    """Move configurations directly behind the command, in order, so that every other option overrides them.

    The parser reads from left to right, and a configuration would override earlier options.

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
    """Path of a configuration; existing files, YAML text and URLs are unchanged.

    Args:
        name: A path, or the name of a bundled configuration: ``demo``, ``configs/demo.yaml``.

    Raises:
        RunError: There is neither a file nor a bundled configuration.
    """
    if Path(name).is_file() or not re.fullmatch(r"[\w.~/\\-]+", name):
        return name
    path = FOLDER / f"{name.removeprefix('configs/').removesuffix('.yaml')}.yaml"
    if not path.is_file():
        raise RunError(
            f"--config {name}: no such file, and no bundled configuration of this name; "
            f"choose one of {', '.join(names())}"
        )
    print(shown(f"--config {name}: bundled with the package, {path}"), file=sys.stderr)
    return str(path)
