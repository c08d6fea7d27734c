"""Packets of a video in another container, some of them left out, or all of them moved in time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import av


def remux(
    source: Path,
    target: Path,
    keep: Callable[[int], bool] = lambda number: True,
    shift: int = 0,
    options: dict[str, str] | None = None,
) -> Path:
    """Copy packets.

    Args:
        source: The video.
        target: The file to write; its suffix chooses the container.
        keep: Whether a packet is copied, by its number.
        shift: What is added to the times, in the source's time base.
        options: Options of the container.
    """
    with av.open(str(source)) as old, av.open(str(target), "w", options=options or {}) as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        packets = (packet for packet in old.demux(video=0) if packet.size)
        for number, packet in enumerate(packets):
            if keep(number):
                packet.pts = None if packet.pts is None else packet.pts + shift
                packet.dts = None if packet.dts is None else packet.dts + shift
                packet.stream = stream
                new.mux(packet)
    return target
