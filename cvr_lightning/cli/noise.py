"""Suppresses messages of other packages that do not help a user, each with the reason."""

from __future__ import annotations

import logging
import warnings

WARNINGS = {
    r".*isinstance\(treespec, LeafSpec\)": "deprecated call in lightning 2.6",
    r".*callbacks used to create the checkpoint need to be provided": "a test does not need them",
    r".*configure_optimizers` will be overridden by": "intended with --optimizer",
    r"Checkpoint directory .* exists and is not empty": "true of every resumed run; others are refused",
    r"(?s)Grad strides do not match.*sizes\(\) = \[\d+, (1, |\d+, 1, 1\])": (
        "the strides differ in an axis of size 1 only: kernels of depthwise and 1x1 convolutions on "
        "channels-last features"
    ),
}
LOGS = {
    "Tip: For seamless cloud": "an advertisement",
    "TPU available": "TPUs are not supported",
    "Seed set to": "config.yaml contains it",
    "Loading `train_dataloader` to estimate": "the learning rate schedule requires it",
    "`Trainer.fit` stopped: `max_epochs": "the requested end",
    "Restoring states from the checkpoint": "the next line names the checkpoint again",
    "Restored all states from the checkpoint": "repeats the line before",
}
"""Parts of log messages of Lightning."""
_LOGGERS = ("lightning.pytorch.utilities.rank_zero", "lightning.fabric.utilities.seed")


def leave_out_noise() -> None:
    """Suppress these messages in this process."""
    for message in WARNINGS:
        warnings.filterwarnings("ignore", message=message)
    for name in _LOGGERS:
        logging.getLogger(name).addFilter(_is_relevant)


def _is_relevant(record: logging.LogRecord) -> bool:
    message = record.getMessage()
    return not any(text in message for text in LOGS)
