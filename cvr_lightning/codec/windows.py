"""Placement of segments in a video: a pure function of the frame types."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from cvr_lightning.codec.arrays import Segment


def _offsets(offsets: float | Sequence[float], n: int) -> list[float]:
    values = [float(offsets)] * n if isinstance(offsets, (int, float)) else [float(o) for o in offsets]
    if len(values) != n:
        raise ValueError(f"{len(values)} offsets for {n} segments")
    if not all(0 <= value < 1 for value in values):
        raise ValueError(f"offsets must lie in [0, 1), got {values}")
    return values


def frames(count: int, n: int, offsets: float | Sequence[float] = 0.5) -> list[Segment]:
    """Select one frame from each of ``n`` equal spans of a video, as segments without P-frames.

    Args:
        count: Number of frames of the video; if fewer than ``n``, frames repeat.
        n: Number of frames to select.
        offsets: Relative position inside the span in [0, 1): one for all spans, or one per span.

    Raises:
        ValueError: ``n`` or an offset is out of range.
    """
    if n < 1:
        raise ValueError(f"need n >= 1, got n={n}")
    places = _offsets(offsets, n)
    return [Segment(min(int((i + place) * count / n), count - 1), ()) for i, place in enumerate(places)]


def segments(frame_types: str, n: int, t: int, offsets: float | Sequence[float] = 0.5) -> list[Segment]:
    """Spread ``n`` segments over a video.

    The P-frames after the first I-frame, in display order, are divided into ``n`` equal spans. Each span
    provides the window of one segment: ``t`` consecutive P-frames of one GOP, ignoring B-frames. The offset
    selects the window among all possible windows of the span.

    No P-frame is in two windows. If no GOP has ``t`` P-frames in a span, the window is the longest possible.
    If a video has fewer than ``n`` P-frames, some spans are empty and their segments have an I-frame only.
    In a video without P-frames, the I-frames are spread in the same way, and repeat if fewer than ``n``.

    Args:
        frame_types: One letter per frame in display order, such as ``"IPPBP"``.
        n: Number of segments.
        t: Number of P-frames of a window.
        offsets: Relative position among the windows of a span in [0, 1): one for all segments, or one each.

    Raises:
        ValueError: ``n`` or an offset is out of range, or the video has no I-frame.
    """
    if n < 1 or t < 0:
        raise ValueError(f"need n >= 1 and t >= 0, got n={n}, t={t}")
    places = _offsets(offsets, n)
    types = np.frombuffer(frame_types.encode(), np.uint8)
    iframes = np.flatnonzero(types == ord("I"))
    if not len(iframes):
        raise ValueError("the video has no I-frame")
    pframes = np.flatnonzero(types == ord("P"))
    pframes = pframes[pframes > iframes[0]]
    if not len(pframes):
        picks = [int((i + place) * len(iframes) / n) for i, place in enumerate(places)]
        return [Segment(int(iframes[min(pick, len(iframes) - 1)]), ()) for pick in picks]
    gop = np.cumsum(types == ord("I"))[pframes] - 1
    gop_end = np.append(np.searchsorted(pframes, iframes[1:]), len(pframes))[gop]
    bounds = [i * len(pframes) // n for i in range(n + 1)]
    span_end = np.repeat(bounds[1:], np.diff(bounds))
    room = np.minimum(gop_end, span_end) - np.arange(len(pframes))
    out = []
    for first, end, place in zip(bounds, bounds[1:], places, strict=False):
        start, length = _window(room[first:end], t, place)
        window = pframes[first + start : first + start + length]
        out.append(Segment(int(iframes[gop[min(first + start, len(pframes) - 1)]]), tuple(window.tolist())))
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


def _window(room: npt.NDArray[np.int64], t: int, place: float) -> tuple[int, int]:
    """Start and length of the window, given the P-frames left in the GOP from each one of the span."""
    if not len(room):
        return 0, 0
    length = t
    (starts,) = (room >= length).nonzero()
    if not len(starts):
        length = int(room.max())
        (starts,) = (room >= length).nonzero()
    return int(starts[int(place * len(starts))]), length
