"""Optimization shared by both modules: parameter groups, learning rate schedule, per-step seeds."""

from __future__ import annotations

import math
import os
from typing import Any

import numpy as np
import torch
from lightning import LightningModule
from lightning.pytorch.plugins.precision import MixedPrecision
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn

from cvr_lightning.errors import OptionError, RunError


def adamw(
    module: LightningModule,
    learning_rate: float,
    weight_decay: float,
    warmup_ratio: float,
    final_lr_ratio: float,
    relative: tuple[nn.Module, float] | None = None,
) -> OptimizerLRSchedulerConfig:
    """AdamW with linear warmup and cosine decay of the learning rate, per step.

    Args:
        module: The trained module, attached to its trainer.
        learning_rate: Peak learning rate.
        weight_decay: Decay of matrices and kernels.
        warmup_ratio: Fraction of the steps in which the learning rate rises linearly.
        final_lr_ratio: Ratio of the last to the peak learning rate.
        relative: A submodule, and the ratio of its learning rate to that of the rest.

    Raises:
        OptionError: An option is out of range.
        RunError: The training has no last step.
    """
    if not 0 < learning_rate < math.inf:
        raise OptionError(f"learning_rate={learning_rate} must be a positive number, such as 0.001")
    if not 0 <= weight_decay < math.inf:
        raise OptionError(f"weight_decay={weight_decay} must not be negative")
    # The many small tensors are fastest updated in one call. Elsewhere torch's own choice is as fast, and
    # Lightning's mixed precision does not clip gradients for a fused optimizer.
    is_mixed = isinstance(module.trainer.precision_plugin, MixedPrecision)
    fused = True if module.device.type == "cpu" and not is_mixed else None
    groups = parameter_groups(module, weight_decay)
    if relative is not None:
        part, factor = relative
        groups = _with_own_rate(groups, part, factor * learning_rate)
    optimizer = torch.optim.AdamW(groups, lr=learning_rate, fused=fused)
    return with_cosine(module, optimizer, warmup_ratio, final_lr_ratio)


def with_cosine(
    module: LightningModule, optimizer: torch.optim.Optimizer, warmup_ratio: float, final_lr_ratio: float
) -> OptimizerLRSchedulerConfig:
    """Add linear warmup and cosine decay of the learning rate, per step, to an optimizer.

    Args:
        module: The trained module, attached to its trainer.
        optimizer: The optimizer; its learning rate is the peak.
        warmup_ratio: Fraction of the steps in which the learning rate rises linearly.
        final_lr_ratio: Ratio of the last to the peak learning rate.

    Raises:
        OptionError: An option is out of range.
        RunError: The training has no last step.
    """
    if not 0 <= warmup_ratio < 1:
        raise OptionError(f"warmup_ratio={warmup_ratio} must be in [0, 1)")
    if not 0 <= final_lr_ratio <= 1:
        raise OptionError(f"final_lr_ratio={final_lr_ratio} must be in [0, 1]")
    steps = _steps(module)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: warmup_cosine(step, steps, warmup_ratio, final_lr_ratio)
    )
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


KERNELS = (nn.Linear, nn.Conv1d, nn.Conv2d)
"""Layers whose weights decay; the per-channel weights of global motion do not."""


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Split trainable parameters into groups with weight decay (matrices, kernels) and without."""
    decayed: list[nn.Parameter] = []
    spared: list[nn.Parameter] = []
    for layer in model.modules():
        for name, parameter in layer.named_parameters(recurse=False):
            if not parameter.requires_grad:
                continue
            is_kernel = name == "weight" and isinstance(layer, KERNELS)
            (decayed if is_kernel else spared).append(parameter)
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": spared, "weight_decay": 0.0}]


def _with_own_rate(
    groups: list[dict[str, Any]], part: nn.Module, learning_rate: float
) -> list[dict[str, Any]]:
    """Move a submodule's parameters into groups with their own learning rate."""
    own = set(part.parameters())
    others = [group | {"params": [p for p in group["params"] if p not in own]} for group in groups]
    of_part = [
        group | {"params": [p for p in group["params"] if p in own], "lr": learning_rate} for group in groups
    ]
    return others + [group for group in of_part if group["params"]]


def _steps(module: LightningModule) -> int:
    """Number of steps of the whole training."""
    steps = module.trainer.estimated_stepping_batches
    if steps == math.inf:
        raise RunError(
            "the learning rate schedule needs a last step: set "
            "--trainer.max_epochs or --trainer.max_steps; --trainer.max_time may end it sooner"
        )
    return int(steps)


def warmup_cosine(step: int, steps: int, warmup_ratio: float, final_ratio: float) -> float:
    """Learning rate relative to its peak: linear warmup, then half a cosine down to ``final_ratio``."""
    rise = max(1, round(warmup_ratio * steps))
    if step < rise:
        return (step + 1) / rise
    progress = min(1.0, (step - rise) / max(1, steps - rise))
    return final_ratio + (1 - final_ratio) * (1 + math.cos(math.pi * progress)) / 2


def seed_step(module: LightningModule, batch_index: int) -> None:
    """Seed the global generator per training step, so that a resumed run draws the same numbers."""
    seed = int(os.environ.get("PL_GLOBAL_SEED", "0"))
    key = (seed, module.current_epoch, batch_index, module.global_rank)
    torch.manual_seed(int(np.random.SeedSequence(key).generate_state(1)[0]))


def zero_loss(module: LightningModule) -> Tensor:
    """Loss of a batch without readable clips: zero gradients, since every process must step."""
    return 0.0 * torch.stack([parameter.sum() for parameter in module.parameters()]).sum()
