"""Blocks of videos, read ahead of the model by processes."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import islice
from typing import NamedTuple

from cvr_lightning.codec.arrays import ClipArrays
from cvr_lightning.codec.errors import FETCH_AGAIN, UnreadableVideoError, VideoError
from cvr_lightning.datamodules.clips import read_views
from cvr_lightning.datamodules.sampling import ClipSampling
from cvr_lightning.files import pool
from cvr_lightning.inference.labeling.sources import Entry

AHEAD = 2
"""Blocks that wait for the model, beside one in each process."""


class Block(NamedTuple):
    """Consecutive videos that are read by one process and scored as one batch.

    Results depend on the block alone, so an interrupted run gives those of an undisturbed one.
    """

    number: int
    entries: tuple[Entry, ...]


class Reading(NamedTuple):
    """What was read of a video.

    Attributes:
        views: The clip of each distinct temporal view; empty if the video cannot be read.
        error: Why it cannot be read, empty if it can.
        prepared: It was prepared in memory.
    """

    views: list[ClipArrays]
    error: str = ""
    prepared: bool = False


def blocks(entries: Iterable[Entry], size: int) -> Iterator[Block]:
    """Divide videos into blocks."""
    waiting = iter(entries)
    number = 0
    while own := tuple(islice(waiting, size)):
        yield Block(number, own)
        number += 1


def read_entry(entry: Entry, sampling: ClipSampling) -> Reading:
    """Read the views of a video; errors of the video become part of the result."""
    try:
        views, prepared = read_views(entry.load(), sampling)
    except VideoError as error:
        return Reading([], error.without_alternative())  # a checkpoint says what is read
    except Exception as error:  # an unexpected error of one file must not stop the others
        return Reading([], f"{entry.name}: {type(error).__name__}: {error}")
    return Reading(views, prepared=prepared)


def _read_block(sampling: ClipSampling, block: Block) -> list[Reading]:
    return [read_entry(entry, sampling) for entry in block.entries]


def read_ahead(
    work: Iterable[Block], sampling: ClipSampling, workers: int
) -> Iterator[tuple[Block, list[Reading]]]:
    """Yield blocks with what was read of them, as they come; a bounded number is read ahead.

    Args:
        work: The blocks.
        sampling: How files are read into clips.
        workers: Number of processes.

    Raises:
        UserError: From ``work``, or if processes keep dying.
    """
    read = partial(_read_block, sampling)
    ready: queue.Queue[tuple[Block, list[Reading]] | Exception | None] = queue.Queue(AHEAD)
    stopped = threading.Event()

    def fill() -> None:
        end: Exception | None = None
        try:
            with contextlib.closing(pool.run(read, work, workers, start_method="fork")) as results:
                for block, result in results:
                    readings = _one_by_one(read, block) if isinstance(result, pool.Died) else result
                    _put(ready, (block, readings), stopped)
                    if stopped.is_set():
                        return
        except Exception as error:
            end = error
        _put(ready, end, stopped)

    thread = threading.Thread(target=fill, name="label-reader", daemon=True)
    thread.start()
    try:
        while (item := ready.get()) is not None:
            if isinstance(item, Exception):
                raise item
            yield item
    finally:
        stopped.set()
        thread.join()


def _put(ready: queue.Queue[object], item: object, stopped: threading.Event) -> None:  # type: ignore[type-arg]
    while not stopped.is_set():
        with contextlib.suppress(queue.Full):
            ready.put(item, timeout=0.2)
            return


def _one_by_one(read: partial[list[Reading]], block: Block) -> list[Reading]:
    """Read a block whose process died: each video in a process of its own, which only the culprit ends."""
    readings = []
    for entry in block.entries:
        ((_, result),) = pool.run(read, [Block(block.number, (entry,))], 1, start_method="fork")
        if isinstance(result, pool.Died):
            error = UnreadableVideoError(entry.name, f"FFmpeg crashed: {result}", FETCH_AGAIN)
            result = [Reading([], str(error))]
        readings += result
    return readings
