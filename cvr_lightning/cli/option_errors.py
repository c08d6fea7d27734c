"""Converts errors of the trainer, the optimizer and the parser about options into one message."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from lightning.fabric.utilities.exceptions import MisconfigurationException

from cvr_lightning.errors import OptionError, RunError, UserError

TRAINER = ("lightning.", "torch.optim.")
"""Packages whose errors concern options of the trainer or the optimizer."""


@contextmanager
def trainer_errors() -> Iterator[None]:
    """Convert errors of the trainer and the optimizer about options into one message.

    Raises:
        RunError: Replaces their errors; errors of other code are unchanged.
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
    """Unwrap errors of classes that the parser builds.

    Raises:
        UserError: Unchanged.
        OptionError: Replaces those of values that an option does not take.
        RunError: A package is missing.
    """
    try:
        yield
    except MisconfigurationException as error:
        raise OptionError(f"{error} Check the --trainer options{_accelerators(str(error))}") from error
    except (ImportError, ValueError) as error:
        cause: BaseException = error
        while cause.__cause__ is not None and _raised_in(cause).startswith("jsonargparse"):
            cause = cause.__cause__
        if isinstance(cause, ImportError):
            raise RunError(
                f"{cause}; install the missing package, or choose options that do not need it"
            ) from error
        if isinstance(cause, ValueError) and not isinstance(cause, UserError):
            raise OptionError(str(cause)) from error
        raise cause from None  # the parser wraps bugs too, such as an AttributeError of a user's class


def _accelerators(message: str) -> str:
    about = any(word in message for word in ("accelerator", "backend"))
    return "; --trainer.accelerator auto selects what this machine supports" if about else ""
