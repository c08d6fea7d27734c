"""A data set indexed by the draws of a :class:`VideoSampler`."""

from __future__ import annotations

from collections.abc import Sequence

from cvr_lightning.clip import Sample
from cvr_lightning.datamodules.dataset import VideoDataset
from cvr_lightning.datamodules.sampling import Draw
from cvr_lightning.errors import UserError


class DrawnDataset(VideoDataset):
    """The videos of a subset, indexed by the :class:`Draw` keys that :class:`VideoSampler` yields.

    A temporal view that would repeat an earlier one is None and left out of batches.
    """

    def __getitem__(self, draw: Draw) -> Sample | None:  # type: ignore[override]
        """Read the clip of a draw."""
        return self._sample(draw)

    def __getitems__(self, draws: Sequence[Draw]) -> list[Sample] | UserError:
        """The samples of a batch, or the error raised while reading them; see :class:`VideoLoader`."""
        try:
            return [sample for draw in draws if (sample := self[draw]) is not None]
        except UserError as error:
            return error
