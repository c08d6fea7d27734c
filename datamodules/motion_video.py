"""Draws the scenes of :class:`MotionShapes` and writes them as MPEG-4 files."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import av
import numba
import numpy as np
import numpy.typing as npt

from cvr_lightning.codec.prepared.encode import LAMBDA
from cvr_lightning.datamodules.motion_scenes import GOP, HEIGHT, TILE, WIDTH, Shot, Texture, pose_at
from cvr_lightning.files.atomic import atomic_path

FPS = 25
QUANTIZER = 2

Plane = npt.NDArray[np.uint8]
Values = npt.NDArray[np.float64]


@numba.njit(nogil=True, cache=True, inline="always")
def _texel(textures: Texture, index: int, x: float, y: float) -> float:
    """Bilinear sample of one of the repeating textures at a position in pixels."""
    x, y = 0.5 * x, 0.5 * y
    left, top = math.floor(x), math.floor(y)
    u, v = x - left, y - top
    x0, y0 = int(left) % TILE, int(top) % TILE
    x1, y1 = (x0 + 1) % TILE, (y0 + 1) % TILE
    upper = (1 - u) * textures[index, y0, x0] + u * textures[index, y0, x1]
    lower = (1 - u) * textures[index, y1, x0] + u * textures[index, y1, x1]
    blend: float = (1 - v) * upper + v * lower
    return blend


@numba.njit(nogil=True, cache=True)
def _render_ground(picture: Values, step: int, textures: Texture, shift: tuple[float, float]) -> None:
    """Fill one plane whose samples lie ``step`` pixels apart with the first texture."""
    for row in range(picture.shape[0]):
        y = (row + 0.5) * step - 0.5
        for column in range(picture.shape[1]):
            x = (column + 0.5) * step - 0.5
            picture[row, column] = _texel(textures, 0, x - shift[0], y - shift[1])


@numba.njit(nogil=True, cache=True)
def _render_shape(
    picture: Values,
    step: int,
    textures: Texture,
    skin: int,
    pose: tuple[float, float, float, float],
    outline: tuple[float, int, float],
) -> None:
    """Draw a shape over one plane; see :class:`Pose` and :class:`Shape` for the units."""
    cx, cy, angle, scale = pose
    radius, lobes, depth = outline
    cos, sin = math.cos(angle) / scale, math.sin(angle) / scale
    reach = radius * (1 + depth) * scale + step
    top, bottom = max(0, int((cy - reach) / step)), min(picture.shape[0], int((cy + reach) / step) + 2)
    left, right = max(0, int((cx - reach) / step)), min(picture.shape[1], int((cx + reach) / step) + 2)
    for row in range(top, bottom):
        dy = (row + 0.5) * step - 0.5 - cy
        for column in range(left, right):
            dx = (column + 0.5) * step - 0.5 - cx
            if dx * dx + dy * dy < reach * reach:
                u, v = cos * dx + sin * dy, cos * dy - sin * dx  # the shape's own coordinates
                edge = radius * (1 + depth * math.cos(lobes * math.atan2(v, u)))
                cover = min(max((edge - math.hypot(u, v)) * scale / step + 0.5, 0.0), 1.0)
                under = picture[row, column]
                picture[row, column] = under + cover * (_texel(textures, skin, u, v) - under)


def render(shot: Shot, motion: str, frame: int) -> Plane:
    """Draw one frame.

    Returns:
        (H * 3 / 2, W) planes Y, Cb, Cr of 4:2:0 video one after the other.
    """
    moving = [*shot.distractors, (shot.shape, motion)]
    pan_x, pan_y = shot.camera[0] * frame, shot.camera[1] * frame
    shift = (shot.drift[0] * frame + pan_x, shot.drift[1] * frame + pan_y)
    planes = []
    for index, step in enumerate((1, 2, 2)):
        picture = np.empty((HEIGHT // step, WIDTH // step))
        textures = np.stack([shot.ground[index], *(shape.skin[index] for shape, _ in moving)])
        _render_ground(picture, step, textures, shift)
        for skin, (shape, its_motion) in enumerate(moving, start=1):
            pose = pose_at(shape, its_motion, frame)
            place = (pose.x + pan_x, pose.y + pan_y, pose.angle, pose.scale)
            _render_shape(picture, step, textures, skin, place, (shape.radius, shape.lobes, shape.depth))
        planes.append((picture + 0.5).astype(np.uint8).ravel())
    return np.concatenate(planes).reshape(-1, WIDTH)


def frames(shots: Sequence[Shot], motion: str) -> Iterator[Plane]:
    """Frames of a video: the shots one after the other, a group of pictures each."""
    for shot in shots:
        for frame in range(GOP):
            yield render(shot, motion, frame)


def write_video(path: Path, shots: Sequence[Shot], motion: str) -> None:
    """Write MPEG-4 Part 2 in the usual prepared form: fixed quantizer, fixed GOP, no B-frames.

    The file is written atomically.
    """
    with atomic_path(path) as unfinished, av.open(str(unfinished), "w", format="mp4") as container:
        stream = container.add_stream("mpeg4", rate=FPS)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.gop_size, stream.max_b_frames = GOP, 0
        stream.thread_count = 1  # with several threads the bytes depend on their number
        stream.options = {"flags": "+qscale", "global_quality": str(QUANTIZER * LAMBDA)}
        for picture in frames(shots, motion):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="yuv420p")))
        container.mux(stream.encode())
