"""Logs unreadable videos and what is prepared in memory; checks that an epoch had readable videos."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import torch.distributed

from cvr_lightning.clip import CompressedClip
from cvr_lightning.codec.prepared.recipe import Recipe
from cvr_lightning.datamodules.errors import DatasetError

if TYPE_CHECKING:
    from lightning import Trainer

log = logging.getLogger(__name__)

_CAUSES = 3
"""Most errors repeated in a message."""


class ReadingLog:
    """Counts clips read in an epoch and logs unreadable videos, over all processes."""

    def __init__(self) -> None:
        self._named: set[str] = set()
        self._causes: list[str] = []
        self._clips: dict[str, int] = {}
        self._has_reported = False

    def start_epoch(self, subset: str) -> None:
        """Start counting the clips of a subset."""
        self._clips[subset] = 0

    def note(self, subset: str, batch: CompressedClip, recipe: Recipe) -> None:
        """Count the clips of a batch, log its unreadable videos, and once that videos are prepared.

        Args:
            subset: The subset; empty in the sanity check.
            batch: The batch.
            recipe: How videos are prepared in memory.
        """
        if batch.prepared and not self._has_reported:
            self._has_reported = True
            log.warning("videos in another form than the model's are prepared in memory: %s", recipe)
        if subset in self._clips:
            self._clips[subset] += len(batch)
        for error in batch.unreadable.values():
            if error.file not in self._named:
                self._named.add(error.file)
                self._causes = [*self._causes, str(error)][:_CAUSES]
                log.warning("skipped (on_error=skip): %s", error)

    def share(self) -> None:
        """Exchange logged names between processes, so each is logged once; a collective operation."""
        if _is_distributed():
            named: list[set[str]] = [set() for _ in range(torch.distributed.get_world_size())]
            torch.distributed.all_gather_object(named, self._named)
            self._named = set().union(*named)

    def end_epoch(self, subset: str) -> None:
        """Check that clips were read since :meth:`start_epoch`; a collective operation.

        Epochs that a resumed run starts in the middle are not checked.

        Raises:
            DatasetError: No process read a clip; the message has the first causes.
        """
        if subset not in self._clips:
            return
        found = [(self._clips.pop(subset), self._causes)]
        if _is_distributed():
            found *= torch.distributed.get_world_size()
            torch.distributed.all_gather_object(found, found[0])
        if not any(clips for clips, _ in found):
            causes = [cause for _, own in found for cause in own][:_CAUSES]
            raise DatasetError(
                f"none of the {subset} videos can be read; the first causes:\n  " + "\n  ".join(causes)
            )


def _is_distributed() -> bool:
    return torch.distributed.is_available() and torch.distributed.is_initialized()


def reading_log(trainer: Trainer) -> ReadingLog:
    """Reading log of the trainer's data set; an inactive one in the sanity check and for other data."""
    found = getattr(getattr(trainer, "datamodule", None), "reading", None)
    return found if isinstance(found, ReadingLog) and not trainer.sanity_checking else ReadingLog()
