"""Steps in which the trainer logs."""

from __future__ import annotations

from lightning import Trainer


def will_log(trainer: Trainer) -> bool:
    """Whether the current step will be logged."""
    return is_logged(trainer, trainer.global_step + 1)


def has_logged(trainer: Trainer) -> bool:
    """Whether the completed step is logged."""
    return is_logged(trainer, trainer.global_step)


def is_logged(trainer: Trainer, steps: int) -> bool:
    """Whether the trainer logs after this number of steps."""
    every: int = trainer.log_every_n_steps  # type: ignore[attr-defined]
    return every > 0 and steps % every == 0
