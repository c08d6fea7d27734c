"""The videos of a subset, read by the draws of an epoch."""

from __future__ import annotations

from collections.abc import Sequence

from cvr_lightning.clip import Sample
from cvr_lightning.datamodules.dataset import VideoDataset
from cvr_lightning.datamodules.sampling import Draw
from cvr_lightning.errors import UserError


class DrawnDataset(VideoDataset):
    """The videos of a subset over :class:`Draw` keys, as :class:`VideoSampler` yields them.

    A temporal view that would repeat an earlier one is None and makes no part of a batch.
    """

    def __getitem__(self, draw: Draw) -> Sample | None:  # type: ignore[override]
        """Read what is drawn."""
        return self._sample(draw)

    def __getitems__(self, draws: Sequence[Draw]) -> list[Sample] | UserError:
        """The samples of a batch, or the error that reading them met: see :class:`VideoLoader`."""
        try:
            return [sample for draw in draws if (sample := self[draw]) is not None]
        except UserError as error:
            return error
