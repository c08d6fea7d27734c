"""A DataLoader that resumes within an epoch and re-raises reading errors unchanged."""

from __future__ import annotations

import gc
import re
import shutil
from collections.abc import Iterator

from torch.utils.data import DataLoader

from cvr_lightning.clip import CompressedClip, Sample, collate
from cvr_lightning.datamodules.video_sampler import VideoSampler
from cvr_lightning.errors import TrainingError, UserError


def collate_or_carry(fetched: list[Sample] | UserError) -> CompressedClip | UserError:
    """Batch the samples, or pass on a reading error."""
    return fetched if isinstance(fetched, UserError) else collate(fetched)


def start_worker(worker: int) -> None:
    """Initialize a reading process; no seeding, since draws already determine all randomness.

    A forked process inherits decoders without the threads that serve them, and collecting one that its parent
    had not collected yet would wait for those threads forever. The garbage collector ignores frozen objects.

    Without this function, Lightning adds its own, which imports Lightning in spawned workers.
    """
    gc.freeze()


class VideoLoader(DataLoader[Sample | None]):
    """Yields :class:`CompressedClip` batches of a :class:`VideoSampler`.

    Its ``collate_fn`` is :func:`collate_or_carry`: PyTorch would turn a worker's exception into text, or into
    a RuntimeError if its class takes several arguments. Here the worker sends the error itself, and it is
    raised in place of its batch.

    The trainer stores the loader's state in checkpoints, so a run can resume within an epoch.

    Raises:
        UserError: While iterating: a video cannot be read, or a worker died.
    """

    _epoch = 0
    _yielded = 0
    _loaded: tuple[int, int] | None = None

    def __iter__(self) -> Iterator[CompressedClip]:  # type: ignore[override]
        """Yield the batches of the sampler's epoch.

        A generator, so that workers start drawing only when iterated: the trainer creates the iterator before
        it sets the sampler's epoch.
        """
        if isinstance(self.sampler, VideoSampler):  # the trainer replaces it for prediction
            self._seek(self.sampler)
        try:
            for batch in super().__iter__():
                if isinstance(batch, UserError):
                    raise batch
                self._yielded += 1
                yield batch
        except RuntimeError as error:
            converted = _worker_error(error)
            if converted is None:
                raise
            raise converted from error

    def _seek(self, sampler: VideoSampler) -> None:
        """Start at the epoch's first batch, or at the loaded state."""
        epoch, batches = self._loaded or (-1, 0)
        self._loaded = None  # the next iteration covers the whole epoch
        self._epoch = sampler.epoch
        self._yielded = batches if epoch == sampler.epoch else 0
        sampler.start = self._yielded * (self.batch_size or 0)

    def state_dict(self) -> dict[str, int]:
        """The epoch, and the number of batches yielded."""
        return {"epoch": self._epoch, "batches": self._yielded}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Continue after those batches in the next iteration of that epoch."""
        self._loaded = (state_dict["epoch"], state_dict["batches"])


def _worker_error(error: RuntimeError) -> TrainingError | None:
    """Convert PyTorch's error about a dead worker or full shared memory; None for other errors."""
    text, fewer = str(error), "use fewer --data.num_workers (0 for none) or a smaller --data.batch_size"
    if "shared memory" in text:
        return TrainingError(
            f"the reading processes have too little shared memory ({_shared_memory()}): start a container "
            f"with --shm-size=2g or --ipc=host, or {fewer}"
        )
    death = re.match(r"DataLoader worker \(pid.*", text)
    if death:
        return TrainingError(
            f"a reading process has died ({death[0].rstrip('. ')}); if memory was short, {fewer}"
        )
    return None


def _shared_memory() -> str:
    try:
        return f"/dev/shm has {shutil.disk_usage('/dev/shm').total / 1e6:.0f} MB"
    except OSError:
        return "there is no /dev/shm"
