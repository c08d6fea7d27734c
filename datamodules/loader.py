"""A DataLoader whose reading errors arrive as they were raised."""

from __future__ import annotations

from collections.abc import Iterator

from torch.utils.data import DataLoader

from cvr_lightning.clip import CompressedClip, Sample, collate
from cvr_lightning.errors import UserError


def collate_or_carry(fetched: list[Sample] | UserError) -> CompressedClip | UserError:
    """Batch the samples, or hand on the error that reading them met."""
    return fetched if isinstance(fetched, UserError) else collate(fetched)


def leave_seeds(worker: int) -> None:
    """Nothing, in each worker as it starts: a draw holds all that chance decides.

    Where a loader has no such function, Lightning adds its own, and so loads itself in spawned workers.
    """


class VideoLoader(DataLoader[Sample | None]):
    """Yields :class:`CompressedClip` batches; its ``collate_fn`` is :func:`collate_or_carry`.

    PyTorch turns an exception of a worker into text, and into a RuntimeError where its class takes several
    arguments. Here the worker sends the error itself, which is raised in the place of its batch.

    Raises:
        UserError: While iterating, where a video cannot be read, or what it lies in.
    """

    def __iter__(self) -> Iterator[CompressedClip]:  # type: ignore[override]
        return self._checked(super().__iter__())

    @staticmethod
    def _checked(batches: Iterator[CompressedClip | UserError]) -> Iterator[CompressedClip]:
        for batch in batches:
            if isinstance(batch, UserError):
                raise batch
            yield batch
