"""Signal handling of runs, and their exit status."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

from lightning import LightningModule, Trainer
from lightning.pytorch import Callback
from lightning.pytorch.utilities.exceptions import SIGTERMException

from cvr_lightning.training.run_checkpoint import LastCheckpoint


class StopTogether(Callback):
    """Ends all processes of a run with status 143 after the batch in which SIGTERM arrives.

    Lightning's handler runs a collective wherever the signal arrives, and more while ending: processes
    interrupted in different places wait for each other forever. All outputs are written atomically, so
    processes can simply end.
    """

    _is_stopped = False

    def _replace_handler(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.world_size > 1:
            signal.signal(signal.SIGTERM, self._stop)

    on_train_start = on_validation_start = on_test_start = on_predict_start = _replace_handler

    def _stop(self, number: int, frame: object) -> None:
        self._is_stopped = True

    def _end_if_stopped(
        self, trainer: Trainer, pl_module: LightningModule, *arguments: Any, **options: Any
    ) -> None:
        if self._is_stopped:
            self._end(trainer, pl_module)

    on_train_batch_end = on_validation_batch_end = on_test_batch_end = on_predict_batch_end = _end_if_stopped

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """End, if SIGTERM caused the exception: a process group's reading workers receive it too, and die.

        Raises:
            SIGTERMException: Replaces the exception where there is one process.
        """
        if isinstance(exception, SIGTERMException) or not (self._is_stopped or trainer.received_sigterm):
            return
        self._end(trainer, pl_module)

    def _end(self, trainer: Trainer, pl_module: LightningModule) -> NoReturn:
        """Say where to resume, and end this process and its children."""
        for callback in trainer.checkpoint_callbacks:
            if isinstance(callback, LastCheckpoint):
                callback.on_exception(trainer, pl_module, SIGTERMException())
        for logger in trainer.loggers:
            logger.finalize("aborted")
        if trainer.world_size == 1:
            raise SIGTERMException
        launcher: Any = trainer.strategy.launcher
        if launcher is not None:
            launcher.kill(signal.SIGKILL)
        os._exit(128 + signal.SIGTERM)


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
