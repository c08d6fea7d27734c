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
    """Move configurations directly after the command, and replace names of bundled ones by their paths.

    The parser reads from left to right, so every other option then overrides the configurations, which keep
    their order. A user's file takes precedence over a bundled one; the paths of bundled ones are printed.

    Args:
        arguments: A command and its options.

    Raises:
        RunError: A configuration is neither a file nor bundled.
    """
    moved: list[str] = []
    rest: list[str] = []
    previous = ""
    for argument in arguments:
        option, is_joined, value = argument.partition("=")
        if previous in _OPTIONS:
            moved.append(config_path(argument))
        elif option in _OPTIONS:
            moved.append(f"{option}={config_path(value)}" if is_joined else option)
        else:
            rest.append(argument)
        previous = argument
    return [*rest[:1], *moved, *rest[1:]]


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
