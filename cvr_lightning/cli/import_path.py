"""Where modules come from: never from the current directory, which may hold the files of strangers.

Nothing is imported here but what Python itself has loaded already, ``__future__`` included: with
``python -m`` the current directory comes first until :func:`leave_out_current_directory` has run.
"""

import os
import sys

_PACKAGES = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def leave_out_current_directory() -> None:
    """Take the current directory off ``sys.path``; it comes last where it holds this package itself."""
    try:
        here = os.path.realpath(os.getcwd())
    except OSError:  # it has been deleted
        return
    kept = [entry for entry in sys.path if os.path.realpath(entry) != here]
    sys.path[:] = [*kept, here] if here == os.path.realpath(_PACKAGES) else kept


def leave_it_out_of_children() -> None:
    """The same for the Python processes that this one starts: reading workers, processes of a run."""
    os.environ["PYTHONSAFEPATH"] = "1"
    if sys.version_info < (3, 11):  # does not know that variable
        from multiprocessing import util

        flags = util._args_from_interpreter_flags  # type: ignore[attr-defined]
        util._args_from_interpreter_flags = lambda: ["-I", *flags()]  # type: ignore[attr-defined]
