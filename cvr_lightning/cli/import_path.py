"""The import path: without the current directory, which may hold untrusted files.

This module only imports what Python has already loaded, not even ``__future__``: with ``python -m`` the
current directory comes first until :func:`leave_out_current_directory` has run.
"""

import os
import sys

_PACKAGES = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def leave_out_current_directory() -> None:
    """Remove the current directory from ``sys.path``, or move it last if it holds this package."""
    try:
        here = os.path.realpath(os.getcwd())
    except OSError:  # the directory was deleted
        return
    kept = [entry for entry in sys.path if os.path.realpath(entry) != here]
    sys.path[:] = [*kept, here] if here == os.path.realpath(_PACKAGES) else kept


def leave_it_out_of_children() -> None:
    """Do the same for child Python processes: reading workers, processes of a run."""
    os.environ["PYTHONSAFEPATH"] = "1"
    if sys.version_info < (3, 11):  # lacks that variable
        from multiprocessing import util

        flags = util._args_from_interpreter_flags  # type: ignore[attr-defined]
        util._args_from_interpreter_flags = lambda: ["-I", *flags()]  # type: ignore[attr-defined]
