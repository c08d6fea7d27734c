"""Messages of other packages that tell a user nothing, each with the reason why it is left out."""

from __future__ import annotations

import logging
import warnings

WARNINGS = {
    r".*isinstance\(treespec, LeafSpec\)": "torch 2.13 says it of code of lightning 2.6",
    r".*callbacks used to create the checkpoint need to be provided": "a test needs none of them",
    r".*configure_optimizers` will be overridden by": "that is what --optimizer asks for",
    r"Checkpoint directory .* exists and is not empty": "a run that goes on; others are refused before",
    r"(?s)Grad strides do not match.*sizes\(\) = \[\d+, (1, |\d+, 1, 1\])": (
        "gradient and bucket differ in the stride of an axis of one element, which means nothing: kernels of "
        "depthwise and of 1x1 convolutions on channels-last features"
    ),
}
LOGS = {
    "Tip: For seamless cloud": "an advertisement",
    "TPU available": "TPUs are not supported",
    "Seed set to": "config.yaml holds it",
    "Loading `train_dataloader` to estimate": "what the learning rate's schedule needs",
    "`Trainer.fit` stopped: `max_epochs": "the end that was asked for",
    "Restoring states from the checkpoint": "the loaded checkpoint is named again a line later",
    "Restored all states from the checkpoint": "the same after a training goes on",
}
"""Parts of log messages of Lightning."""
_LOGGERS = ("lightning.pytorch.utilities.rank_zero", "lightning.fabric.utilities.seed")


def leave_out_noise() -> None:
    """Leave these messages out of the output of this process."""
    for message in WARNINGS:
        warnings.filterwarnings("ignore", message=message)
    for name in _LOGGERS:
        logging.getLogger(name).addFilter(_is_of_use)


def _is_of_use(record: logging.LogRecord) -> bool:
    message = record.getMessage()
    return not any(text in message for text in LOGS)
