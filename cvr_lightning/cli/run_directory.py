"""The run directory: its name, and checks before a run starts in it."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path

from lightning import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from cvr_lightning.errors import RunError
from cvr_lightning.training.checkpoint import is_whole, require_local


def default_run_name(command: str) -> str:
    """The command with the time or the launcher's id, the same in all processes of a run.

    Raises:
        RunError: torchrun has no id, so the processes have no common name.
    """
    launch = os.environ.get("TORCHELASTIC_RUN_ID")
    if launch == "none":
        raise RunError("torchrun was started without --standalone or --rdzv-id: name the run with --run")
    step = os.environ.get("SLURM_STEP_ID")  # of srun: a job may start several runs
    if launch is None and step is not None:
        launch = f"{os.environ['SLURM_JOB_ID']}.{step}"
    name = f"{command}-{launch or format(datetime.now(), '%Y-%m-%d_%H-%M-%S')}"
    return os.environ.setdefault("CVR_RUN", name)


def without_parents(directory: Path) -> Path:
    """The same directory without ``..``, which callbacks would store and later commands refuse."""
    return Path(os.path.realpath(directory)) if os.pardir in directory.parts else directory


def protect(directory: Path, ckpt_path: str | None) -> None:
    """Refuse to overwrite another run's checkpoints when training from scratch.

    Raises:
        RunError: There are checkpoints.
    """
    checkpoints = sorted((directory / "checkpoints").glob("*.ckpt"))
    if ckpt_path or not checkpoints:
        return
    whole = [path for path in checkpoints if is_whole(path)]
    advice = (
        f"Resume it with --ckpt_path {_ckpt_path(whole)}, choose" if whole else "None is complete: choose"
    )
    raise RunError(
        f"{directory} holds the checkpoints of an earlier run. {advice} another --run, or remove "
        "the directory"
    )


def _ckpt_path(checkpoints: list[Path]) -> str:
    return "last" if any(path.name == "last.ckpt" for path in checkpoints) else str(checkpoints[0])


def require_last(trainer: Trainer) -> list[Path]:
    """The last checkpoints that a run can resume from.

    Raises:
        RunError: No checkpoint callback has written one; the trainer would start from scratch with a warning.
    """
    folders = [
        callback.dirpath or str(Path(trainer.default_root_dir) / "checkpoints")
        for callback in trainer.checkpoint_callbacks
        if isinstance(callback, ModelCheckpoint)
    ]
    # No glob pattern with the folder, whose name may contain brackets.
    files = [path for folder in folders if Path(folder).is_dir() for path in sorted(Path(folder).iterdir())]
    checkpoints = [path for path in files if path.suffix == ".ckpt"]
    last = [path for path in checkpoints if path.name.startswith("last")]
    if last:
        return last
    whole = [path for path in checkpoints if is_whole(path)]
    if whole:
        raise RunError(f"{trainer.default_root_dir} holds no last.ckpt: resume with --ckpt_path {whole[0]}")
    raise RunError(
        f"{trainer.default_root_dir} has no checkpoint to resume from: name the run with --run, or omit "
        "--ckpt_path last to start one"
    )


def keep_apart(directory: Path, root: Path) -> None:
    """Refuse a run directory among a data set's class folders, where it would become a class.

    Raises:
        RunError: The run directory is among them.
    """
    if directory.resolve().is_relative_to(root.resolve()):
        raise RunError(
            f"{directory}: the run directory would be read as a class folder of {root}; "
            "set --trainer.default_root_dir to a folder outside"
        )


def require_weights(command: str, ckpt_path: str | None) -> None:
    """Check that a command has a local checkpoint file.

    Without one the trainer would silently score random weights. It also accepts keywords other than ``last``
    and remote addresses.

    Raises:
        RunError: No checkpoint is given, or the value is not a .ckpt file.
        CheckpointError: It is a remote address.
    """
    require_local(ckpt_path or "")
    if command == "fit" and ckpt_path in (None, "last"):
        return
    if not ckpt_path or not ckpt_path.endswith(".ckpt"):
        given = f", and {ckpt_path} is not a .ckpt file" if ckpt_path else ""
        raise RunError(f"cvr {command} needs trained weights{given}: --ckpt_path RUN/checkpoints/last.ckpt")
