"""A video at a glance, as its index tells it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cvr_lightning.codec.container.index import PacketIndex


@dataclass(frozen=True)
class StreamInfo:
    """A video at a glance.

    Attributes:
        codec: FFmpeg's name of the codec.
        profile: The codec's profile, empty where it states none.
        pixel_format: FFmpeg's name of the pixel format.
        width: Width in pixels as displayed, that is after rotation.
        height: Height in pixels as displayed.
        rotation: Degrees counter-clockwise by which coded frames are turned for display: 0, 90, 180, 270.
        num_frames: Frames that the packets hold; the container's header is not trusted.
        frame_types: One letter a frame in display order.
        gop_lengths: Frames from each I-frame to the next.
        fps: Average frame rate, 0 where unknown.
        duration: Seconds according to the container, 0 where unknown.
        bit_rate: Bits per second of the video stream's packets, 0 where the duration is unknown.
        has_b_frames: B-frames are present.
    """

    codec: str
    profile: str
    pixel_format: str
    width: int
    height: int
    rotation: int
    num_frames: int
    frame_types: str
    gop_lengths: tuple[int, ...]
    fps: float
    duration: float
    bit_rate: int
    has_b_frames: bool


def describe(index: PacketIndex) -> StreamInfo:
    """What the index says of the stream, in display orientation."""
    facts, types = index.facts, index.frame_types
    turned = facts.rotation % 180 != 0
    starts = np.flatnonzero(index.frame_kinds == b"I")
    bits = 8 * int(index.sizes.sum())
    return StreamInfo(
        codec=facts.codec,
        profile=facts.profile,
        pixel_format=facts.pixel_format,
        width=facts.height if turned else facts.width,
        height=facts.width if turned else facts.height,
        rotation=facts.rotation,
        num_frames=len(types),
        frame_types=types,
        gop_lengths=tuple(np.diff(starts, append=len(types)).tolist()),
        fps=facts.fps,
        duration=facts.duration,
        bit_rate=round(bits / facts.duration) if facts.duration > 0 else 0,
        has_b_frames="B" in types,
    )
