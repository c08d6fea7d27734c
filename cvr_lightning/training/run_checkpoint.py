"""Checkpoints of a run: atomic writing, safe reading, and a check that the last one was written."""

from __future__ import annotations

import sys
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from lightning import LightningModule, Trainer
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.utilities.exceptions import SIGTERMException

from cvr_lightning.errors import TrainingError
from cvr_lightning.files.atomic import write_output
from cvr_lightning.files.printable import shown
from cvr_lightning.training.checkpoint import read_checkpoint


class WholeCheckpointIO(TorchCheckpointIO):
    """Writes checkpoints atomically, and loads them without executing code.

    Lightning's own writer uses ``$TMPDIR``: if that is another file system, a killed process can leave a
    partial checkpoint in place of the previous one. With your own trainer:
    ``Trainer(plugins=[WholeCheckpointIO()])``.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Write a checkpoint, replacing the previous one only after it is on disk.

        Raises:
            OutputError: It cannot be written.
        """
        if "://" in str(path):  # object stores write atomically
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        buffer = BytesIO()  # torch's own writer hides the disk's error
        torch.save(checkpoint, buffer)
        write_output(Path(path), buffer.getbuffer())

    def load_checkpoint(
        self, path: str | Path, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Load a checkpoint of this package onto the CPU, weights and plain values only.

        Raises:
            CheckpointError: The file is missing, damaged, or not of this package.
        """
        return read_checkpoint(path)


class RunCheckpoint(ModelCheckpoint):
    """A checkpoint callback of every run; a distinct class, so users can add any ModelCheckpoint."""


class LastCheckpoint(RunCheckpoint):
    """Saves ``last.ckpt`` after every epoch, for ``--ckpt_path last``."""

    def __init__(self) -> None:
        super().__init__(filename="last", save_on_train_epoch_end=True, enable_version_counter=False)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note an existing checkpoint before the first step."""
        super().on_train_start(trainer, pl_module)
        self._first_step = trainer.global_step
        self._found = self._identity()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Check that a new checkpoint was written.

        Raises:
            TrainingError: None was written although steps were done.
        """
        super().on_train_end(trainer, pl_module)
        if not trainer.is_global_zero or trainer.fast_dev_run or trainer.global_step == self._first_step:  # type: ignore[attr-defined]
            return
        if self._identity() in (None, self._found):
            raise TrainingError(
                f"{self._path}: training ended without writing this checkpoint; set another "
                "--trainer.default_root_dir and train again"
            )

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Print from where an interrupted run can be resumed."""
        super().on_exception(trainer, pl_module, exception)
        if isinstance(exception, KeyboardInterrupt | SIGTERMException) and trainer.is_global_zero:
            there = self.dirpath is not None and self._identity() is not None
            text = (
                f"the last complete checkpoint is {self._path}; resume with --ckpt_path last"
                if there
                else ("no checkpoint has been written yet")
            )
            print(shown(f"cvr: {text}"), file=sys.stderr)

    @property
    def _path(self) -> Path:
        return Path(str(self.dirpath)) / f"last{self.FILE_EXTENSION}"

    def _identity(self) -> tuple[int, int] | None:
        """Inode and time of the file, which change when it is replaced; None if it does not exist."""
        try:
            status = self._path.stat()
        except OSError:
            return None
        return status.st_ino, status.st_mtime_ns


class StepCheckpoint(RunCheckpoint):
    """Saves ``last.ckpt`` after every N steps, in the middle of an epoch too.

    Args:
        steps: Number of steps.
    """

    def __init__(self, steps: int) -> None:
        super().__init__(filename="last", every_n_train_steps=steps, enable_version_counter=False)
