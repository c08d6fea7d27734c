"""The summary at the end of a training: best score, checkpoint, next command, report."""

from __future__ import annotations

import shlex
from pathlib import Path

from cvr_lightning.files.printable import align
from cvr_lightning.training.checkpoint import read_checkpoint
from cvr_lightning.training.run_checkpoint import RunCheckpoint


def fit_ending(directory: Path, best: RunCheckpoint, next_command: str) -> str | None:
    """Four lines: the best validation, its checkpoint, the next command, the report.

    Args:
        directory: The run directory.
        best: The callback that kept the best checkpoint.
        next_command: Command line with ``{}`` in the place of the checkpoint.

    Returns:
        None if the run wrote no checkpoint, as with ``fast_dev_run``.
    """
    path = Path(best.best_model_path or directory / "checkpoints" / "last.ckpt")
    if not path.is_file():
        return None
    epoch = read_checkpoint(path)["epoch"] + 1
    score = best.best_model_score
    validation = "none was run" if score is None else f"{best.monitor} {float(score):.4f} after epoch {epoch}"
    return align(
        [
            ["best validation", validation],
            ["checkpoint", str(path)],
            ["next", next_command.format(shlex.quote(str(path)))],
            ["report", f"cvr report {shlex.quote(str(directory))}"],
        ]
    )
