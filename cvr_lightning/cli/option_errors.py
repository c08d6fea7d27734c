"""Errors of the trainer, the optimizer and the parser about options, each as one message."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from lightning.fabric.utilities.exceptions import MisconfigurationException

from cvr_lightning.errors import RunError, UserError

TRAINER = ("lightning.", "torch.optim.")
"""Packages whose errors speak of options: of the trainer, and of the optimizer that the module's become."""


@contextmanager
def trainer_errors() -> Iterator[None]:
    """Turn what the trainer and the optimizer say of their options into one message.

    Raises:
        RunError: In the place of their errors; those of all other code stay as they are.
    """
    try:
        yield
    except MisconfigurationException as error:
        raise RunError(f"{error} Check the --trainer options") from error
    except (ValueError, TypeError, ArithmeticError, RuntimeError, MemoryError) as error:
        if not _raised_in(error).startswith(TRAINER):
            raise
        raise RunError(
            f"{type(error).__name__}: {error}; check the --trainer, --model and --optimizer options"
        ) from error


def _raised_in(error: BaseException) -> str:
    """Name of the module that raised an error."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return "" if trace is None else str(trace.tb_frame.f_globals.get("__name__", ""))


@contextmanager
def plain_errors() -> Iterator[None]:
    """Take the parser's frame off the errors of the classes that it builds.

    Raises:
        UserError: As it was raised.
        RunError: In the place of all others.
    """
    try:
        yield
    except ImportError as error:
        raise RunError(f"{error}; install what is missing, or choose options that do without it") from error
    except MisconfigurationException as error:
        raise RunError(
            f"{error} Check the --trainer options; --trainer.accelerator auto takes what this machine has"
        ) from error
    except ValueError as error:
        cause: BaseException = error
        while cause.__cause__ is not None and not isinstance(cause, UserError):
            cause = cause.__cause__
        if isinstance(cause, UserError):
            raise cause from None
        raise RunError(str(cause)) from error
