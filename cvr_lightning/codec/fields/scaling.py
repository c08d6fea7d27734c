"""Decoded pictures to RGB at the asked size, through swscale."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter

_SCALED_AS_CODED = frozenset({"yuv420p", "yuvj420p"})


class RgbScaler:
    """Converts pictures; its filters are kept, since to set up swscale costs more than to scale a picture.

    At its own size a picture becomes RGB as PyAV converts it. Another size is reached by swscale's bilinear
    filter, which is as wide as the scale asks, on the coded Y, Cb, Cr planes where they are 4:2:0: two steps
    are far quicker than one. All on one thread: a process forked later would wait for the others in vain.
    """

    def __init__(self) -> None:
        self._scale = VideoReformatter()
        self._convert = VideoReformatter()

    def __call__(self, picture: VideoFrame, size: tuple[int, int]) -> npt.NDArray[np.uint8]:
        """RGB (H, W, 3) of a picture at ``size`` (H, W)."""
        height, width = size
        if (picture.height, picture.width) != size and picture.format.name in _SCALED_AS_CODED:
            picture = self._scale.reformat(picture, width, height, interpolation="BILINEAR", threads=1)
        rgb = self._convert.reformat(
            picture, width, height, format="rgb24", interpolation="BILINEAR", threads=1
        )
        return rgb.to_ndarray().astype(np.uint8, copy=False)
