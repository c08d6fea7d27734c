"""Decoded frames through decord, for speed comparisons with RGB pipelines.

decord's frame numbers are not exact in every stream (AVI with B-frames, HEVC, MPEG-1; see
``benchmarks/bench.py --sections frames``), and it conceals errors. Data sets are read with
:meth:`cvr_lightning.codec.CompressedVideoReader.read_frames` instead.
"""

from __future__ import annotations

import os

import numpy as np
import numpy.typing as npt
from av import VideoFrame
from av.video.reformatter import VideoReformatter

from cvr_lightning.codec.container.opening import open_container
from cvr_lightning.codec.errors import FETCH_AGAIN, UnreadableVideoError
from cvr_lightning.errors import cause_of


def read_rgb(
    path: str | os.PathLike[str], frames: int, size: tuple[int, int] | None = None
) -> npt.NDArray[np.uint8]:
    """Decode the middle frames of equal spans of a video.

    Args:
        path: The video.
        frames: Number of frames; frames of a short video may repeat.
        size: (H, W) in pixels of the output; None keeps the size of the video.

    Returns:
        (frames, 3, H, W) uint8 RGB.

    Raises:
        UnreadableVideoError: The file is missing or cannot be decoded.
    """
    import decord  # imported here because it loads its own copy of FFmpeg

    name = os.fspath(path)
    open_container(name, name).close()  # decord would follow scripts that refer to other files
    try:
        video = decord.VideoReader(os.path.abspath(name), ctx=decord.cpu(0), num_threads=1)
        numbers = ((np.arange(frames) + 0.5) * len(video) / frames).astype(int)
        pictures: npt.NDArray[np.uint8] = video.get_batch(numbers).asnumpy()
    except (decord.DECORDError, RuntimeError) as error:
        cause = f"decord cannot decode it: {cause_of(error, line=-1)}"
        raise UnreadableVideoError(name, cause, FETCH_AGAIN) from error
    if size is not None:
        pictures = _scaled(pictures, size)
    return np.ascontiguousarray(pictures.transpose(0, 3, 1, 2))


def _scaled(pictures: npt.NDArray[np.uint8], size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    # Not scaled by decord: version 3.4 fails for widths that are not a multiple of its line alignment.
    scaler = VideoReformatter()
    height, width = size
    frames = (VideoFrame.from_ndarray(picture, format="rgb24") for picture in pictures)
    return np.stack([scaler.reformat(frame, width=width, height=height).to_ndarray() for frame in frames])
