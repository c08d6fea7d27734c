"""The steps in which the trainer passes figures on to its loggers."""

from __future__ import annotations

from lightning import Trainer


def will_log(trainer: Trainer) -> bool:
    """Whether the step under way is one of them."""
    return is_logged(trainer, trainer.global_step + 1)


def has_logged(trainer: Trainer) -> bool:
    """The same, once the step is taken."""
    return is_logged(trainer, trainer.global_step)


def is_logged(trainer: Trainer, steps: int) -> bool:
    """Whether the trainer passes figures on after so many steps."""
    every: int = trainer.log_every_n_steps  # type: ignore[attr-defined]
    return every > 0 and steps % every == 0
