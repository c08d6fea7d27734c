"""What a process that a signal stops tells whoever started it."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

from lightning.pytorch.utilities.exceptions import SIGTERMException


@contextmanager
def exit_status_of_signals() -> Iterator[None]:
    """End with 143 on SIGTERM and with 130 on Ctrl-C, as shells do, where Lightning ends with 0 and 1.

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
