"""Errors that a user can fix; the command line prints them without a traceback."""

from collections.abc import Iterator
from contextlib import contextmanager

INTERRUPTED = 130
"""Conventional exit status after Ctrl-C."""


class UserError(Exception):
    """Base class of errors whose message states the cause and what to do."""


class RunError(UserError):
    """A run cannot start with the given options."""


class OptionError(RunError):
    """An option has a value that it does not take; commands exit with 2."""


class CheckpointError(UserError):
    """A file is not a usable checkpoint."""


class CropError(UserError, ValueError):
    """The model does not support the size of the frames."""


class PrepareError(UserError):
    """Videos cannot be prepared with the given options."""


class ShardError(UserError):
    """Shards cannot be written or read."""


class TrainingError(UserError):
    """A run has started and cannot continue."""


class WeightsError(UserError):
    """Published weights cannot be loaded; the message names those that do not match."""


def cause_of(error: BaseException, line: int = 0) -> str:
    """A line of another library's error, for a message; the error's type if it has no text."""
    return (str(error).strip().splitlines() or [type(error).__name__])[line]


@contextmanager
def naming(argument: str) -> Iterator[None]:
    """Let the errors of a file name the argument that gave it.

    Raises:
        CheckpointError: With the name in front.
        WeightsError: With the name in front.
    """
    try:
        yield
    except (CheckpointError, WeightsError) as error:
        raise type(error)(f"{argument}={error}") from error


class OutputError(UserError, OSError):
    """A file cannot be written: the disk is full, read-only or missing, or permission is denied."""

    def __str__(self) -> str:
        return str(self.strerror)


class InUseError(UserError):
    """Another process is writing to the same folder."""
