"""Conversion of decoded pictures to RGB at the requested size, with swscale."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter

_SCALED_AS_CODED = frozenset({"yuv420p", "yuvj420p"})


class RgbScaler:
    """Converts pictures with cached swscale contexts, whose setup costs more than scaling a picture.

    At the original size the result equals PyAV's conversion. Other sizes use swscale's bilinear filter, which
    is antialiased when downscaling. 4:2:0 pictures are scaled in Y, Cb, Cr first and then converted, which is
    much faster than one step. Runs on one thread: swscale threads would deadlock in a process forked later.
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
