"""Small real videos, encoded by FFmpeg through PyAV: a panned texture with a box that moves across it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt

COARSE = {"qmin": "31", "qmax": "31"}
"""Options of MPEG encoders under which few blocks carry coefficients, and none a small one."""
SINGLE_REFERENCE = {"refs": "1", "bf": "0", "x264-params": "weightp=0"}
"""Options of libx264 whose residuals the FFmpeg parser can give."""


def scene(width: int, height: int, frames: int, seed: int = 0) -> Iterator[npt.NDArray[np.uint8]]:
    """RGB frames (H, W, 3) in which most blocks have a good match in the frame before."""
    rng = np.random.default_rng(seed)
    rows, columns = height // 8 + frames, width // 8 + frames
    coarse = av.VideoFrame.from_ndarray(rng.integers(0, 256, (rows, columns, 3), np.uint8), format="rgb24")
    texture = coarse.reformat(width=8 * columns, height=8 * rows, interpolation="BICUBIC").to_ndarray()
    side = min(width, height) // 3
    for i in range(frames):
        frame = texture[2 * i // 3 :, i:][:height, :width].copy()
        left = 7 * i % max(1, width - side)
        frame[side : 2 * side, left : left + side] = 255 - frame[side : 2 * side, left : left + side]
        yield frame


def encode(
    path: Path,
    size: tuple[int, int] = (176, 144),
    frames: int = 30,
    codec: str = "mpeg4",
    gop: int = 12,
    options: dict[str, str] | None = None,
    rotation: int = 0,
    pix_fmt: str = "yuv420p",
    container_options: dict[str, str] | None = None,
) -> Path:
    """Encode a scene of ``size`` (width, height) to ``path``, whose suffix chooses the container."""
    with av.open(str(path), "w", options=container_options or {}) as container:
        stream = container.add_stream(codec, rate=25, options={"g": str(gop), **(options or {})})
        stream.width, stream.height = size
        stream.pix_fmt = pix_fmt
        if rotation:
            stream.set_display_rotation(rotation)
        for rgb in scene(*size, frames):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")))
        container.mux(stream.encode(None))
    return path
