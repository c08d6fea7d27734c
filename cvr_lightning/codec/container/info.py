"""Summary of a video from its index."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cvr_lightning.codec.container.index import PacketIndex


@dataclass(frozen=True)
class StreamInfo:
    """Summary of a video.

    Attributes:
        codec: FFmpeg's name of the codec.
        profile: Codec profile, empty if not stated.
        pixel_format: FFmpeg's name of the pixel format.
        width: Display width in pixels, after rotation.
        height: Display height in pixels, after rotation.
        rotation: Rotation for display in degrees counterclockwise: 0, 90, 180 or 270.
        num_frames: Number of frames, counted in the packets rather than taken from the container's header.
        frame_types: One letter per frame in display order.
        gop_lengths: Frames from each I-frame to the next.
        fps: Average frame rate, 0 if unknown.
        duration: Duration in seconds from the container, 0 if unknown.
        bit_rate: Bits per second of the video stream's packets, 0 if the duration is unknown.
        has_b_frames: The video has B-frames.
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
    """Summarize the index, in display orientation."""
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
