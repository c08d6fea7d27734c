"""Decoded frames through decord, the reader that others use: for comparisons of speed.

Its frame numbers are not exact in every stream (AVI with B-frames, HEVC, MPEG-1: ``benchmarks/frames.py``),
and it conceals damage. Data is read by :meth:`cvr_lightning.codec.CompressedVideoReader.read_frames`.
"""

from __future__ import annotations

import os

import numpy as np
import numpy.typing as npt
from av import VideoFrame
from av.video.reformatter import VideoReformatter

from cvr_lightning.codec.container.opening import open_container
from cvr_lightning.codec.errors import FETCH_AGAIN, UnreadableVideoError


def read_rgb(
    path: str | os.PathLike[str], frames: int, size: tuple[int, int] | None = None
) -> npt.NDArray[np.uint8]:
    """Decode frames from the middles of equal parts of a video.

    Args:
        path: The video.
        frames: Number of frames; a frame of a short video may come more than once.
        size: (H, W) in pixels to scale to; the video's own where None.

    Returns:
        (frames, 3, H, W) uint8 RGB.

    Raises:
        UnreadableVideoError: Where the file is missing or cannot be decoded.
    """
    import decord  # here, since it loads an FFmpeg of its own that few readers need

    name = os.fspath(path)
    open_container(name, name).close()  # decord would follow a script that names other files
    try:
        video = decord.VideoReader(os.path.abspath(name), ctx=decord.cpu(0), num_threads=1)
        numbers = ((np.arange(frames) + 0.5) * len(video) / frames).astype(int)
        pictures: npt.NDArray[np.uint8] = video.get_batch(numbers).asnumpy()
    except (decord.DECORDError, RuntimeError) as error:
        cause = str(error).strip().splitlines()[-1]
        raise UnreadableVideoError(name, f"decord cannot decode it: {cause}", FETCH_AGAIN) from error
    if size is not None:
        pictures = _scaled(pictures, size)
    return np.ascontiguousarray(pictures.transpose(0, 3, 1, 2))


def _scaled(pictures: npt.NDArray[np.uint8], size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    # Not by decord: version 3.4 fails for widths that are no multiple of its line alignment.
    scaler = VideoReformatter()
    height, width = size
    frames = (VideoFrame.from_ndarray(picture, format="rgb24") for picture in pictures)
    return np.stack([scaler.reformat(frame, width=width, height=height).to_ndarray() for frame in frames])
