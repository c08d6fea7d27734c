"""The order in which processes draw the videos of an epoch."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import numpy as np
import torch.distributed
from torch.utils.data import DistributedSampler

from cvr_lightning.datamodules.sampling import Draw
from cvr_lightning.errors import RunError
from cvr_lightning.files.printable import counted


class VideoSampler(DistributedSampler[Draw]):
    """Draws the videos of one process, in training shuffled by (seed, epoch).

    Uses rank and world size of :mod:`torch.distributed` if initialized. Subclasses DistributedSampler so
    Lightning does not wrap it.

    - Training: every rank draws the same number of videos, and the batches of all ranks in a step equal those
      of one process with as many clips. The last videos of an epoch's order, fewer than there are ranks, are
      dropped; they differ by epoch.
    - Evaluation: each (video, view) is drawn exactly once over all ranks, without padding. The views of a
      video stay on one rank, so ranks may differ in length; each needs at least one video to take part in the
      last collective.

    Args:
        videos: Number of videos.
        training: Shuffle and give each rank the same number.
        seed: Seed of the order.
        views: Temporal views of each video.

    Attributes:
        start: Number of this process's draws to skip at the start of an iteration.
    """

    def __init__(self, videos: int, training: bool, seed: int = 0, views: int = 1) -> None:
        super().__init__(range(videos), num_replicas=1, rank=0)  # type: ignore[arg-type]
        self.videos = videos
        self.training = training
        self.seed = seed
        self.views = views
        self.start = 0

    def __len__(self) -> int:
        return len(self._own_videos()) * self.views

    def __iter__(self) -> Iterator[Draw]:
        draws = (Draw(self.epoch, v, view) for v in self._own_videos() for view in range(self.views))
        return islice(draws, self.start, None)

    def _own_videos(self) -> list[int]:
        rank, world = _rank_and_world()
        if self.videos < world:
            subset = "training" if self.training else "validation or test"
            raise RunError(
                f"{counted(self.videos, f'{subset} video')} cannot be split over {world} processes: "
                "use fewer processes"
            )
        if not self.training:
            return list(range(rank, self.videos, world))
        order = np.random.default_rng((self.seed, self.epoch)).permutation(self.videos)
        own: list[int] = order[rank : self.videos - self.videos % world : world].tolist()
        return own


def _rank_and_world() -> tuple[int, int]:
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return 0, 1
