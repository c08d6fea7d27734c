"""Frames of a stream beside those of the reader of files."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from cvr_lightning.codec import CompressedVideoReader, Segment
from cvr_lightning.codec.container.packets import PacketStream, StreamPacket, open_packets
from cvr_lightning.codec.stream import CompressedStream, StreamFrame

SIZE = (96, 128)
FIELDS = ("iframes", "iframe_index", "motion", "residual", "modes", "mask")


def read(packets: PacketStream, pframes: int = 3, stride: int = 5, **options: object) -> list[StreamFrame]:
    return list(CompressedStream(packets, pframes, stride, SIZE, **options))  # type: ignore[arg-type]


def load(path: str) -> PacketStream:
    """The packets of a file, in a list."""
    with open_packets(path) as packets:
        return replace(packets, packets=list(packets.packets))


def listed(packets: PacketStream) -> list[StreamPacket]:
    assert isinstance(packets.packets, list)
    return packets.packets


def assert_equals_reader(frames: list[StreamFrame], path: str, pframes: int, stride: int) -> None:
    with CompressedVideoReader(path) as reader:
        order = [(number, kind) for number, kind in enumerate(reader.info.frame_types) if kind in "IP"]
        assert [frame.kind for frame in frames] == [kind for _, kind in order]
        iframe, since = -1, 0
        is_counted = reader.info.codec == "h264" or "B" not in reader.info.frame_types
        names = (*FIELDS, "age") if is_counted else FIELDS
        for (number, kind), frame in zip(order, frames, strict=True):
            if kind == "I":
                iframe, since = number, 0
                expected = reader.read([Segment(iframe, ())], pframes=0, size=SIZE)
            else:
                assert frame.step == since % stride
                since += 1
                if frame.step >= pframes:
                    assert frame.arrays is None
                    continue
                expected = reader.read([Segment(iframe, (number,))], pframes=1, size=SIZE)
            for name in names:
                np.testing.assert_array_equal(getattr(frame.arrays, name), getattr(expected, name), name)
