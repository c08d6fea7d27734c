"""``--import``: explicitly named modules with a user's data sets and callbacks."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path

from cvr_lightning.errors import RunError

OPTION = "--import"
_IMPORTED: set[str] = set()
"""Names of the modules that the command line has named."""


def split_imports(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Split the arguments into those without ``--import NAME``, and these names.

    Raises:
        RunError: The last argument is the option, without a name.
    """
    rest: list[str] = []
    names: list[str] = []
    waiting = iter(arguments)
    for argument in waiting:
        option, is_joined, value = argument.partition("=")
        if option != OPTION:
            rest.append(argument)
            continue
        name = value if is_joined else next(waiting, "")
        if not name:
            raise RunError(f"{OPTION} needs a module or a .py file")
        names.append(name)
    return rest, names


def import_by_name(name: str) -> None:
    """Import an installed module, or a file, which becomes a module named like the file.

    Args:
        name: ``package.module``, or a path that ends in ``.py``.

    Raises:
        RunError: There is no such module or file, or the file's name is that of another module.
    """
    if name.endswith(".py"):
        _IMPORTED.add(Path(name).stem)
        _import_file(Path(name))
        return
    _IMPORTED.add(name)
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise
        raise RunError(
            f"{OPTION} {name}: no such module is installed; give the path of a file: {OPTION} {name}.py"
        ) from error


def _import_file(path: Path) -> None:
    if not path.is_file():
        raise RunError(f"{OPTION} {path}: no such file")
    name = path.stem
    loaded = sys.modules.get(name)
    if loaded is not None and getattr(loaded, "__file__", None) == str(path.resolve()):
        return
    if not name.isidentifier() or loaded is not None or importlib.util.find_spec(name) is not None:
        raise RunError(
            f"{OPTION} {path}: {name!r} is another module's name, or not an identifier; rename the file"
        )
    spec = importlib.util.spec_from_file_location(name, path.resolve())
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)


def raised_in_imported(error: BaseException) -> str | None:
    """The named module whose code raised an error, directly or through other packages that it calls."""
    found, trace = None, error.__traceback__
    while trace is not None:
        name = str(trace.tb_frame.f_globals.get("__name__"))
        if name in _IMPORTED:
            found = name
        elif name.startswith(__package__.partition(".")[0]):
            found = None  # called by our code, or calls it
        trace = trace.tb_next
    return found
