"""The checkpoints of every run: how they are written and read, and that the promised one is there."""

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
    """Checkpoints that are whole or not there, and that execute nothing when they are loaded.

    Lightning's own writer goes through ``$TMPDIR``: across file systems, a process that is killed leaves half
    a checkpoint and no predecessor. For a trainer of one's own: ``Trainer(plugins=[WholeCheckpointIO()])``.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Write a checkpoint; its predecessor stays until the new one is on the disk.

        Raises:
            OutputError: It cannot be written.
        """
        if "://" in str(path):  # object stores show whole files only
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        buffer = BytesIO()  # torch's own writer hides why a disk refuses
        torch.save(checkpoint, buffer)
        write_output(Path(path), buffer.getbuffer())

    def load_checkpoint(
        self, path: str | Path, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read a checkpoint of this package onto the CPU, weights and plain values only.

        Raises:
            CheckpointError: It is missing, damaged, or not of this package.
        """
        return read_checkpoint(path)


class RunCheckpoint(ModelCheckpoint):
    """A checkpoint that every run keeps, under a name of its own: any ModelCheckpoint may stand beside it."""


class LastCheckpoint(RunCheckpoint):
    """The end of every epoch: what ``--ckpt_path last`` resumes."""

    def __init__(self) -> None:
        super().__init__(filename="last", save_on_train_epoch_end=True, enable_version_counter=False)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note what is there before the first step."""
        super().on_train_start(trainer, pl_module)
        self._first_step = trainer.global_step
        self._found = self._identity()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Check that the checkpoint is there and new.

        Raises:
            TrainingError: It is not, although steps were done.
        """
        super().on_train_end(trainer, pl_module)
        if not trainer.is_global_zero or trainer.fast_dev_run or trainer.global_step == self._first_step:  # type: ignore[attr-defined]
            return
        if self._identity() in (None, self._found):
            raise TrainingError(
                f"{self._path}: training has ended and has not written this checkpoint; give another "
                "--trainer.default_root_dir and train again"
            )

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Tell whoever stops the run where it can go on."""
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
        """What differs between a file and the one that is renamed over it; None where there is none."""
        try:
            status = self._path.stat()
        except OSError:
            return None
        return status.st_ino, status.st_mtime_ns
