"""Options that ``--ckpt_path`` adds to a command, from the checkpoint's checked configuration."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from cvr_lightning.cli.run_directory import require_weights
from cvr_lightning.errors import CheckpointError
from cvr_lightning.training.checkpoint import CHECKPOINT_KEY
from cvr_lightning.training.checkpoint_contents import is_local, own_data_set

_ROOT = ("--data.root", "--data.init_args.root")
_CONFIG = ("-c", "--config")


class StoredOptions(NamedTuple):
    """A command with the options of its checkpoint.

    Attributes:
        arguments: The command and its options.
        path: The checkpoint; None without one.
        root_is_named: Whether the user, not the checkpoint, names the videos' folder.
    """

    arguments: list[str]
    path: str | None
    root_is_named: bool


def with_stored_options(arguments: list[str], load: Callable[[str], dict[str, Any]]) -> StoredOptions:
    """Insert a checkpoint's options before all others, which override them.

    Outputs go to the run directory of the checkpoint, found on disk.

    Args:
        arguments: The command and its options.
        load: Loads a checkpoint of the command, and refuses others.

    Raises:
        CheckpointError: The file cannot be used, or its data set must be given.
    """
    path = _given(arguments, "--ckpt_path")
    if path is None:
        return StoredOptions(arguments, None, True)
    require_weights(arguments[0], path)
    if path == "last":
        return StoredOptions(arguments, path, True)
    stored = load(path)[CHECKPOINT_KEY].get("config", {})
    data = _data(path, stored.get("data", {}), arguments)
    named = any(argument.partition("=")[0] in _ROOT for argument in arguments)
    if data and named:
        data["init_args"].pop("root", None)
    elif data and not is_local(data["init_args"].get("root", "")):
        raise CheckpointError(f"{path}: its videos lie at an address; name it again with --data.root")
    options = {name: stored[name] for name in ("seed_everything", "trainer", "model") if name in stored}
    options = options | ({"data": data} if data else {}) | _outputs(Path(path), options.get("trainer", {}))
    arguments = [arguments[0], "--config", json.dumps(options), *arguments[1:]]
    return StoredOptions(arguments, path, root_is_named=named or not data)


def _data(path: str, stored: Mapping[str, Any], arguments: list[str]) -> dict[str, Any] | None:
    """The data set and its options; None if the command's own configuration names a custom one."""
    named = _given(arguments, "--data")
    own = own_data_set(stored.get("class_path"))
    options = dict(stored.get("init_args", {}))
    if own:
        return {"class_path": own, "init_args": options}
    if named:
        options.pop("root", None)
        return {"class_path": named, "init_args": options}
    if any(argument.partition("=")[0] in _CONFIG for argument in arguments):
        return None
    raise CheckpointError(
        f"{path}: its data set {str(stored.get('class_path'))[:100]!r} is not one of this package, and a "
        "checkpoint imports nothing: name it again with --import, --data and --data.root"
    )


def _outputs(path: Path, trainer: Mapping[str, Any]) -> dict[str, Any]:
    """The run directory of a checkpoint: RUN of RUN/checkpoints/NAME.ckpt with a RUN/config.yaml."""
    folder = Path(os.path.abspath(path)).parent
    run = folder.parent
    if folder.name != "checkpoints" or not (run / "config.yaml").is_file():
        return {}
    return {"run": run.name, "trainer": {**trainer, "default_root_dir": os.path.relpath(run.parent)}}


def _given(arguments: list[str], option: str) -> str | None:
    """Last value of an option."""
    values = [
        value if argument == option else argument.partition("=")[2]
        for argument, value in zip(arguments, [*arguments[1:], ""], strict=True)
        if argument.partition("=")[0] == option
    ]
    return values[-1] if values else None
