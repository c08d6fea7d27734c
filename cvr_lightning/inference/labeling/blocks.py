"""Blocks of videos, read ahead of the model by processes."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Generator, Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import Any, NamedTuple

from cvr_lightning.codec.arrays import ClipArrays
from cvr_lightning.codec.errors import FETCH_AGAIN, UnreadableVideoError, VideoError
from cvr_lightning.datamodules.clips import Span, read_spans, read_views
from cvr_lightning.datamodules.sampling import ClipSampling
from cvr_lightning.files import pool
from cvr_lightning.inference.labeling.sources import Entry

AHEAD = 2
"""Parts of blocks that wait for the model, beside one in each process."""
MOST = 16
"""Clips of a long video in a part."""


class Block(NamedTuple):
    """Consecutive videos that are read by one process and scored as one batch.

    Results depend on the block alone, so an interrupted run gives those of an undisturbed one.
    """

    number: int
    entries: tuple[Entry, ...]


class Reading(NamedTuple):
    """What was read of a video, or of a part of it.

    Attributes:
        entry: The video.
        views: The clip of each distinct temporal view; empty if it cannot be read.
        error: Why it cannot be read, empty if it can.
        span: Start and end of the part in seconds; None for the whole video.
    """

    entry: Entry
    views: Sequence[ClipArrays] = ()
    error: str = ""
    span: tuple[float, float] | None = None


class Part(NamedTuple):
    """Some readings of a block; ``last`` is its end, and ``first`` begins it, maybe once more."""

    block: Block
    readings: list[Reading]
    first: bool
    last: bool


class How(NamedTuple):
    """How videos are read: as clips of the whole video, or of each part of so many seconds."""

    sampling: ClipSampling
    every: float | None = None


def blocks(entries: Iterable[Entry], size: int) -> Iterator[Block]:
    """Divide videos into blocks."""
    waiting = iter(entries)
    number = 0
    while own := tuple(islice(waiting, size)):
        yield Block(number, own)
        number += 1


def read_entry(entry: Entry, how: How) -> Iterator[Reading]:
    """Read a video; errors of the video become part of the result."""
    try:
        if how.every is None:
            yield Reading(entry, read_views(entry.load(), how.sampling))
        else:
            for span in read_spans(entry.load(), how.sampling, how.every):
                yield _reading_of(entry, span)
    except VideoError as error:
        yield Reading(entry, error=error.without_alternative())  # a checkpoint says what is read
    except Exception as error:  # an unexpected error of one file must not stop the others
        yield Reading(entry, error=f"{entry.name}: {type(error).__name__}: {error}")


def _reading_of(entry: Entry, span: Span) -> Reading:
    place = (span.start, span.end)
    if isinstance(span.arrays, VideoError):
        return Reading(entry, (), span.arrays.without_alternative(), place)
    return Reading(entry, [span.arrays], "", place)


def read_block(how: How, block: Block) -> Generator[list[Reading], None, None]:
    """Read a block; long videos come in several parts."""
    readings = (reading for entry in block.entries for reading in read_entry(entry, how))
    while part := list(islice(readings, max(MOST, len(block.entries)))):
        yield part


def read_ahead(work: Iterable[Block], how: How, workers: int | None) -> Generator[Part, None, None]:
    """Yield what was read of blocks as it comes; a bounded number of parts is read ahead.

    Parts of several blocks alternate. Where the process of a block dies, the block begins once more.

    Args:
        work: The blocks.
        how: How videos are read.
        workers: Number of processes; all cores by default.

    Raises:
        UserError: From ``work``, or if processes keep dying.
    """
    ready: queue.Queue[Part | Exception | None] = queue.Queue(AHEAD)
    stopped = threading.Event()

    def fill() -> None:
        end: Exception | None = None
        try:
            with contextlib.closing(_parts(work, how, workers)) as parts:
                for part in parts:
                    _put(ready, part, stopped)
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


def _put(ready: queue.Queue[Any], item: object, stopped: threading.Event) -> None:
    while not stopped.is_set():
        with contextlib.suppress(queue.Full):
            ready.put(item, timeout=0.2)
            return


def _parts(work: Iterable[Block], how: How, workers: int | None) -> Generator[Part, None, None]:
    begun: set[int] = set()
    with contextlib.closing(pool.run(partial(read_block, how), work, workers)) as results:
        for block, result in results:
            if isinstance(result, pool.Part):
                yield Part(block, result.value, first=block.number not in begun, last=False)
                begun.add(block.number)
                continue
            begun.discard(block.number)
            if isinstance(result, pool.Died):
                yield Part(block, [], first=True, last=False)
                for entry in block.entries:
                    yield from _alone(block, entry, how)
            yield Part(block, [], first=False, last=True)


def _alone(block: Block, entry: Entry, how: How) -> Iterator[Part]:
    """Read a video whose block killed its process in a process of its own, which only the culprit ends."""
    for _, result in pool.run(partial(read_block, how), [Block(0, (entry,))], 1):
        if isinstance(result, pool.Part):
            yield Part(block, result.value, first=False, last=False)
        elif isinstance(result, pool.Died):
            error = UnreadableVideoError(entry.name, f"FFmpeg crashed: {result}", FETCH_AGAIN)
            yield Part(block, [Reading(entry, error=str(error))], first=False, last=False)
