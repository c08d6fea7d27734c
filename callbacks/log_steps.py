"""The steps in which the trainer passes figures on to its loggers."""

from __future__ import annotations

from lightning import Trainer


def will_log(trainer: Trainer) -> bool:
    """Whether the step under way is one of them."""
    return _is_logged(trainer, trainer.global_step + 1)


def has_logged(trainer: Trainer) -> bool:
    """The same, once the step is taken."""
    return _is_logged(trainer, trainer.global_step)


def _is_logged(trainer: Trainer, steps: int) -> bool:
    every: int = trainer.log_every_n_steps  # type: ignore[attr-defined]
    return every > 0 and steps % every == 0
