"""Signal handling of runs, and their exit status."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch import Callback
from lightning.pytorch.utilities.exceptions import SIGTERMException

from cvr_lightning.training.run_checkpoint import LastCheckpoint


class StopTogether(Callback):
    """Ends the processes of a distributed training after the batch in which SIGTERM arrives.

    Lightning's handler runs a collective wherever the signal arrives, and more while ending: processes
    interrupted in different places wait for each other forever. All outputs are written atomically, so
    processes can simply end.
    """

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Replace Lightning's handler."""
        self._is_stopped = False
        if trainer.world_size > 1:
            signal.signal(signal.SIGTERM, self._stop)

    def _stop(self, number: int, frame: object) -> None:
        self._is_stopped = True

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *arguments: Any) -> None:
        """End this process and its children."""
        if not self._is_stopped:
            return
        for callback in trainer.checkpoint_callbacks:
            if isinstance(callback, LastCheckpoint):
                callback.on_exception(trainer, pl_module, SIGTERMException())
        for logger in trainer.loggers:
            logger.finalize("aborted")
        launcher: Any = trainer.strategy.launcher
        if launcher is not None:
            launcher.kill(signal.SIGKILL)
        os._exit(128 + signal.SIGTERM)

    def on_validation_batch_end(self, trainer: Trainer, pl_module: LightningModule, *arguments: Any) -> None:
        """Do the same in validation."""
        if trainer.state.fn == "fit":
            self.on_train_batch_end(trainer, pl_module)


@contextmanager
def exit_status_of_signals() -> Iterator[None]:
    """Exit with 143 on SIGTERM and with 130 on Ctrl-C, as is conventional; Lightning exits with 0 and 1.

    Raises:
        SystemExit: With that status.
    """
    try:
        yield
    except SystemExit as stop:
        if isinstance(stop, SIGTERMException):
            raise SystemExit(128 + signal.SIGTERM) from stop
        if isinstance(stop.__context__, KeyboardInterrupt):
            raise SystemExit(128 + signal.SIGINT) from stop
        raise
