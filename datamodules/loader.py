"""A DataLoader that resumes inside an epoch, and whose reading errors arrive as they were raised."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator

from torch.utils.data import DataLoader

from cvr_lightning.clip import CompressedClip, Sample, collate
from cvr_lightning.datamodules.sampling import VideoSampler
from cvr_lightning.errors import TrainingError, UserError


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
        UserError: While iterating, where a video cannot be read, or what it lies in, or a worker has died.
    """

    _epoch = 0
    _yielded = 0
    _loaded: tuple[int, int] | None = None

    def __iter__(self) -> Iterator[CompressedClip]:  # type: ignore[override]
        """The batches of the sampler's epoch.

        A generator on purpose: workers draw ahead as soon as they start, and the trainer asks for an iterator
        before it sets the sampler's epoch.
        """
        if isinstance(self.sampler, VideoSampler):  # the trainer puts another one in its place to predict
            self._seek(self.sampler)
        try:
            for batch in super().__iter__():
                if isinstance(batch, UserError):
                    raise batch
                self._yielded += 1
                yield batch
        except RuntimeError as error:
            told = _worker_error(error)
            if told is None:
                raise
            raise told from error

    def _seek(self, sampler: VideoSampler) -> None:
        """Start an epoch at its first batch, or where the loaded state says."""
        epoch, batches = self._loaded or (-1, 0)
        self._loaded = None  # whoever iterates again wants the whole epoch
        self._epoch = sampler.epoch
        self._yielded = batches if epoch == sampler.epoch else 0
        sampler.start = self._yielded * (self.batch_size or 0)

    def state_dict(self) -> dict[str, int]:
        """The epoch, and the number of its batches that were yielded."""
        return {"epoch": self._epoch, "batches": self._yielded}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Continue after those batches when that epoch is iterated next."""
        self._loaded = (state_dict["epoch"], state_dict["batches"])


def _worker_error(error: RuntimeError) -> TrainingError | None:
    """What PyTorch tells of a worker that has died or cannot share memory; None for all other errors."""
    text, fewer = (
        str(error),
        "take fewer --data.num_workers (0 reads without them) or a smaller --data.batch_size",
    )
    if "shared memory" in text:
        return TrainingError(
            f"the reading processes have too little shared memory ({_shared_memory()}): start a container "
            f"with --shm-size=2g or --ipc=host, or {fewer}"
        )
    death = re.match(r"DataLoader worker \(pid.*", text)
    if death:
        return TrainingError(
            f"a reading process has died ({death[0].rstrip('. ')}): where memory was short, {fewer}"
        )
    return None


def _shared_memory() -> str:
    try:
        return f"/dev/shm has {shutil.disk_usage('/dev/shm').total / 1e6:.0f} MB"
    except OSError:
        return "there is no /dev/shm"
