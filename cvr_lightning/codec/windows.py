"""Placement of segments in a video: a pure function of the frame types."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from cvr_lightning.codec.arrays import Segment


def _offsets(offsets: float | Sequence[float], spans: int) -> list[float]:
    values = [float(offsets)] * spans if isinstance(offsets, (int, float)) else [float(o) for o in offsets]
    if len(values) != spans:
        raise ValueError(f"{len(values)} offsets for {spans} segments")
    if not all(0 <= value < 1 for value in values):
        raise ValueError(f"offsets must lie in [0, 1), got {values}")
    return values


def spread_frames(count: int, segments: int, offsets: float | Sequence[float] = 0.5) -> list[Segment]:
    """Select one frame from each of equal spans of a video, as segments without P-frames.

    Args:
        count: Number of frames of the video; if fewer than ``segments``, frames repeat.
        segments: Number of frames to select.
        offsets: Relative position inside the span in [0, 1): one for all spans, or one per span.

    Raises:
        ValueError: A number is out of range.
    """
    if segments < 1:
        raise ValueError(f"need at least 1 segment, got {segments}")
    places = _offsets(offsets, segments)
    return [
        Segment(min(int((i + place) * count / segments), count - 1), ()) for i, place in enumerate(places)
    ]


def spread_segments(
    frame_types: str, segments: int, pframes: int, offsets: float | Sequence[float] = 0.5
) -> list[Segment]:
    """Spread segments over a video.

    The P-frames after the first I-frame, in display order, are divided into equal spans. Each span
    provides the window of one segment: consecutive P-frames of one GOP, ignoring B-frames. The offset
    selects the window among all possible windows of the span.

    No P-frame is in two windows. If no GOP has enough P-frames in a span, the window is the longest possible.
    If a video has fewer P-frames than ``segments``, some spans are empty and their segments have an I-frame
    only. In a video without P-frames, the I-frames are spread in the same way, and repeat if there are fewer.

    Args:
        frame_types: One letter per frame in display order, such as ``"IPPBP"``.
        segments: Number of segments N.
        pframes: Number of P-frames T of a window.
        offsets: Relative position among the windows of a span in [0, 1): one for all segments, or one each.

    Raises:
        ValueError: A number is out of range, or the video has no I-frame.
    """
    if segments < 1 or pframes < 0:
        raise ValueError(f"need segments >= 1 and pframes >= 0, got {segments} and {pframes}")
    places = _offsets(offsets, segments)
    types = np.frombuffer(frame_types.encode(), np.uint8)
    i_numbers, p_numbers = np.flatnonzero(types == ord("I")), np.flatnonzero(types == ord("P"))
    if not len(i_numbers):
        raise ValueError("the video has no I-frame")
    p_numbers = p_numbers[p_numbers > i_numbers[0]]
    if not len(p_numbers):
        picks = [int((i + place) * len(i_numbers) / segments) for i, place in enumerate(places)]
        return [Segment(int(i_numbers[min(pick, len(i_numbers) - 1)]), ()) for pick in picks]
    gop = np.cumsum(types == ord("I"))[p_numbers] - 1
    gop_end = np.append(np.searchsorted(p_numbers, i_numbers[1:]), len(p_numbers))[gop]
    bounds = [i * len(p_numbers) // segments for i in range(segments + 1)]
    span_end = np.repeat(bounds[1:], np.diff(bounds))
    room = np.minimum(gop_end, span_end) - np.arange(len(p_numbers))
    out = []
    for first, end, place in zip(bounds, bounds[1:], places, strict=False):
        start, length = _window(room[first:end], pframes, place)
        window = p_numbers[first + start : first + start + length]
        iframe = i_numbers[gop[min(first + start, len(p_numbers) - 1)]]
        out.append(Segment(int(iframe), tuple(window.tolist())))
    return out


def check_segments(segments: Sequence[Segment], frame_types: str, path: str) -> None:
    """Check that the frames of segments exist and have the expected types.

    Args:
        segments: The segments.
        frame_types: One letter per frame of the video in display order.
        path: The video, for the message.

    Raises:
        ValueError: A frame does not exist, or has another type.
    """
    for segment in segments:
        for frame, kind in [(segment.iframe, "I"), *((frame, "P") for frame in segment.pframes)]:
            if not (0 <= frame < len(frame_types) and frame_types[frame] == kind):
                raise ValueError(f"frame {frame} of {segment} is not a {kind}-frame of {path}")


def needed_pframes(segment: Segment, frame_types: str, accumulate: bool) -> tuple[int, ...]:
    """The P-frames to read for a segment: its window or, to accumulate, all from the I-frame on."""
    if not accumulate or not segment.pframes:
        return segment.pframes
    span = range(segment.iframe + 1, max(segment.pframes) + 1)
    return tuple(frame for frame in span if frame_types[frame] == "P")


def _window(room: npt.NDArray[np.int64], length: int, place: float) -> tuple[int, int]:
    """Start and length of the window, given the P-frames left in the GOP from each one of the span."""
    if not len(room):
        return 0, 0
    (starts,) = (room >= length).nonzero()
    if not len(starts):
        length = int(room.max())
        (starts,) = (room >= length).nonzero()
    return int(starts[int(place * len(starts))]), length
