"""Where a clip's segments lie: a pure function of the frame types."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cvr_lightning.codec.arrays import Segment


def _offsets(offsets: float | Sequence[float], n: int) -> list[float]:
    values = [float(offsets)] * n if isinstance(offsets, (int, float)) else [float(o) for o in offsets]
    if len(values) != n:
        raise ValueError(f"{len(values)} offsets for {n} segments")
    if not all(0 <= value < 1 for value in values):
        raise ValueError(f"offsets must lie in [0, 1), got {values}")
    return values


def frames(count: int, n: int, offsets: float | Sequence[float] = 0.5) -> list[Segment]:
    """One frame from each of ``n`` equal spans of a video, as segments without P-frames.

    Args:
        count: Frames of the video; where they are fewer than ``n``, some come more than once.
        n: Number of frames.
        offsets: Place inside the span in [0, 1): one for all, or one for each.

    Raises:
        ValueError: ``n`` or an offset is out of range.
    """
    if n < 1:
        raise ValueError(f"need n >= 1, got n={n}")
    places = _offsets(offsets, n)
    return [Segment(min(int((i + place) * count / n), count - 1), ()) for i, place in enumerate(places)]


def segments(frame_types: str, n: int, t: int, offsets: float | Sequence[float] = 0.5) -> list[Segment]:
    """Spread ``n`` segments over a video.

    The P-frames that follow an I-frame, listed in display order, are cut in ``n`` equal spans; the offset
    picks the P-frame inside each span. The window is ``t`` consecutive P-frames of that P-frame's GOP
    (B-frames are passed over), centred on it as the GOP allows; a GOP of fewer than ``t`` gives a shorter
    window. A video without P-frames gives segments of I-frames alone, spread in the same way.

    Args:
        frame_types: One letter a frame in display order, such as ``"IPPBP"``.
        n: Number of segments.
        t: P-frames of a window.
        offsets: Place inside the span in [0, 1): one for all segments, or one for each.

    Raises:
        ValueError: ``n`` or an offset is out of range, or the video has no I-frame.
    """
    if n < 1 or t < 0:
        raise ValueError(f"need n >= 1 and t >= 0, got n={n}, t={t}")
    places = _offsets(offsets, n)
    types = np.frombuffer(frame_types.encode(), "S1")
    iframes = np.flatnonzero(types == b"I")
    if not len(iframes):
        raise ValueError("the video has no I-frame")
    pframes = np.flatnonzero(types == b"P")
    pframes = pframes[pframes > iframes[0]]

    def pick(i: int, count: int) -> int:
        return min(int((i + places[i]) * count / n), count - 1)

    if not len(pframes):
        return [Segment(int(iframes[pick(i, len(iframes))]), ()) for i in range(n)]
    bounds = np.append(np.searchsorted(pframes, iframes), len(pframes))  # of each GOP's P-frames
    out = []
    for i in range(n):
        place = pick(i, len(pframes))
        gop = int(np.searchsorted(iframes, pframes[place])) - 1
        first, end = int(bounds[gop]), int(bounds[gop + 1])
        start = max(first, min(place - t // 2, end - t))  # centred as the GOP allows
        out.append(Segment(int(iframes[gop]), tuple(pframes[start : min(start + t, end)].tolist())))
    return out
