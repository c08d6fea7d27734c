"""The boundary between commands and the terminal: output encoding, and errors as one message."""

from __future__ import annotations

import io
import logging
import os
import select
import sys
import threading
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn, TextIO

from cvr_lightning.cli.imports import raised_in_imported
from cvr_lightning.errors import OptionError, UserError
from cvr_lightning.files.atomic import DISK_FAULTS
from cvr_lightning.files.printable import shown

READER_LEFT = 141
"""Exit status when the output's reader has closed the pipe, as after SIGPIPE."""
REPORT = (
    "this is a bug in cvr_lightning; please report it with the lines above, the command and `cvr --version`"
)
NOT_OURS = "this is a bug in {}, which --import names; see the lines above"


def accept_any_text() -> None:
    """Escape characters that the terminal's encoding lacks, instead of raising."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


class ShownRecord(logging.LogRecord):
    """A log record whose message may contain untrusted names."""

    def getMessage(self) -> str:  # noqa: N802
        """The message, escaped for display."""
        return shown(super().getMessage())


def show_warnings() -> None:
    """Escape warnings for display; for a process that runs one command."""

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        text = warnings.formatwarning(message, category, filename, lineno, line)
        print(shown(text.rstrip()), file=file or sys.stderr)

    warnings.showwarning = show


@contextmanager
def shown_logs() -> Iterator[None]:
    """Escape log messages of all packages for display."""
    factory = logging.getLogRecordFactory()
    logging.setLogRecordFactory(ShownRecord)
    try:
        yield
    finally:
        logging.setLogRecordFactory(factory)


@contextmanager
def one_message() -> Iterator[None]:
    """Print errors that a user can fix as one message; other errors keep their traceback.

    Raises:
        SystemExit: With 1 after an error, with 2 if an option is the cause, with 141 if the output's reader
            has closed the pipe.
    """
    try:
        try:
            with _quiet_threads(), shown_logs():
                yield
        finally:
            sys.stdout.flush()  # here, not at exit, since the pipe may be closed
    except UserError as error:
        _fail(str(error), error)
    except BrokenPipeError as error:
        broken = [stream for stream in (sys.stdout, sys.stderr) if _is_unread(stream)]
        if not broken:
            _report_defect(error)
        for stream in broken:  # discard the rest, also at exit
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        raise SystemExit(READER_LEFT) from None
    except OSError as error:
        if error.errno is None:
            _report_defect(error)
        _fail(f"{error.strerror}: {error.filename}" if error.filename else f"{error.strerror}", error)
    except Exception as error:
        _report_defect(error)


@contextmanager
def _quiet_threads() -> Iterator[None]:
    """Leave full disks to the main thread, where TensorBoard re-raises its writer's error."""
    report = threading.excepthook

    def report_others(failure: threading.ExceptHookArgs) -> None:
        if not isinstance(failure.exc_value, OSError) or failure.exc_value.errno not in DISK_FAULTS:
            report(failure)

    threading.excepthook = report_others
    try:
        yield
    finally:
        threading.excepthook = report


def _fail(message: str, error: Exception) -> NoReturn:
    print(f"cvr: {shown(message)}", file=sys.stderr)
    raise SystemExit(2 if isinstance(error, OptionError) else 1) from error


def _report_defect(error: Exception) -> NoReturn:
    print(shown("".join(traceback.format_exception(error))), file=sys.stderr)
    module = raised_in_imported(error)
    _fail(REPORT if module is None else NOT_OURS.format(module), error)


def _is_unread(stream: TextIO) -> bool:
    """Whether a stream is a pipe closed by its reader."""
    poll = select.poll()
    poll.register(stream.fileno(), 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))
