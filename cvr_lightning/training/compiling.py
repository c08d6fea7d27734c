"""Compiling a model for training, where the device can."""

from __future__ import annotations

import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import nn

from cvr_lightning.models.devices import cannot_compile


def compile_in_place(model: nn.Module, device: torch.device) -> None:
    """Compile a model, or warn why it is not compiled; the results are equal up to rounding.

    Args:
        model: The model; its weights keep their names.
        device: Device of the training.
    """
    reason = cannot_compile(device)
    if reason:
        rank_zero_warn(f"torch.compile does not work on {device}: {reason}; training continues without it")
    else:
        model.compile()
