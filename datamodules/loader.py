"""A DataLoader that resumes inside an epoch, and whose reading errors arrive as they were raised."""

from __future__ import annotations

from collections.abc import Iterator

from torch.utils.data import DataLoader

from cvr_lightning.clip import CompressedClip, Sample, collate
from cvr_lightning.datamodules.sampling import VideoSampler
from cvr_lightning.errors import UserError


def collate_or_carry(fetched: list[Sample] | UserError) -> CompressedClip | UserError:
    """Batch the samples, or hand on the error that reading them met."""
    return fetched if isinstance(fetched, UserError) else collate(fetched)


def leave_seeds(worker: int) -> None:
    """Nothing, in each worker as it starts: a draw holds all that chance decides.

    Where a loader has no such function, Lightning adds its own, and so loads itself in spawned workers.
    """


class VideoLoader(DataLoader[Sample | None]):
    """Yields :class:`CompressedClip` batches of a :class:`VideoSampler`.

    Its ``collate_fn`` is :func:`collate_or_carry`: PyTorch turns an exception of a worker into text, and into
    a RuntimeError where its class takes several arguments. Here the worker sends the error itself, which is
    raised in the place of its batch.

    The trainer stores the loader's state in checkpoints, so a run continues in the middle of an epoch.

    Raises:
        UserError: While iterating, where a video cannot be read, or what it lies in.
    """

    sampler: VideoSampler
    batch_size: int
    _epoch = 0
    _yielded = 0
    _loaded: tuple[int, int] | None = None

    def __iter__(self) -> Iterator[CompressedClip]:  # type: ignore[override]
        """The batches of the sampler's epoch.

        A generator on purpose: workers draw ahead as soon as they start, and the trainer asks for an iterator
        before it sets the sampler's epoch.
        """
        loaded_epoch, loaded_batches = self._loaded or (-1, 0)
        self._loaded = None  # whoever iterates again wants the whole epoch
        self._epoch = self.sampler.epoch
        self._yielded = loaded_batches if loaded_epoch == self._epoch else 0
        self.sampler.start = self._yielded * self.batch_size
        for batch in super().__iter__():
            if isinstance(batch, UserError):
                raise batch
            self._yielded += 1
            yield batch

    def state_dict(self) -> dict[str, int]:
        """The epoch, and the number of its batches that were yielded."""
        return {"epoch": self._epoch, "batches": self._yielded}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Continue after those batches when that epoch is iterated next."""
        self._loaded = (state_dict["epoch"], state_dict["batches"])
