"""Decoders with threads, as programs leave them behind."""

from __future__ import annotations

from pathlib import Path

import av


def garbage_with_threads(path: Path) -> list[object]:
    """A decoder with threads in a cycle of references: to let go of it leaves it to the garbage collector."""
    container = av.open(str(path))
    stream = container.streams.video[0]
    stream.thread_count, stream.thread_type = 2, "FRAME"  # type: ignore[assignment]
    next(container.decode(stream))
    cycle: list[object] = [container]
    cycle.append(cycle)
    return cycle
