"""The scenes of :class:`MotionShapes` as pictures and as MPEG-4 files."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import av
import numba
import numpy as np
import numpy.typing as npt

from cvr_lightning.atomic import atomic_path
from cvr_lightning.datamodules.motion_scenes import GOP, HEIGHT, TILE, WIDTH, Shot, Texture, pose_at

FPS = 25
QUANTISER = 2
LAMBDA = 118
"""FFmpeg counts the quality of a stream in units of 1/118 quantiser (FF_QP2LAMBDA)."""

Plane = npt.NDArray[np.uint8]
Table = npt.NDArray[np.float64]


@numba.njit(nogil=True, cache=True, inline="always")
def _texel(texture: Texture, x: float, y: float) -> float:
    """Bilinear sample of a repeating texture at a position in pixels."""
    x, y = 0.5 * x, 0.5 * y
    left, top = math.floor(x), math.floor(y)
    u, v = x - left, y - top
    x0, y0 = int(left) % TILE, int(top) % TILE
    x1, y1 = (x0 + 1) % TILE, (y0 + 1) % TILE
    upper = (1 - u) * texture[y0, x0] + u * texture[y0, x1]
    lower = (1 - u) * texture[y1, x0] + u * texture[y1, x1]
    blend: float = (1 - v) * upper + v * lower
    return blend


@numba.njit(nogil=True, cache=True)
def _render_plane(
    plane: Plane,
    step: int,
    ground: Texture,
    shift: tuple[float, float],
    skins: Texture,
    poses: Table,
    outlines: Table,
) -> None:
    """Fill one plane whose samples lie ``step`` pixels apart with the ground, then with each shape.

    ``poses`` holds x, y, angle and scale of the S shapes, ``outlines`` their radius, lobes and depth; see
    :class:`Shape` for the units.
    """
    for row in range(plane.shape[0]):
        y = (row + 0.5) * step - 0.5
        for column in range(plane.shape[1]):
            x = (column + 0.5) * step - 0.5
            value = _texel(ground, x - shift[0], y - shift[1])
            for shape in range(len(poses)):
                cx, cy, angle, scale = poses[shape]
                radius, lobes, depth = outlines[shape]
                dx, dy = x - cx, y - cy
                if dx * dx + dy * dy < (radius * (1 + depth) * scale + step) ** 2:
                    cos, sin = math.cos(angle) / scale, math.sin(angle) / scale
                    u, v = cos * dx + sin * dy, cos * dy - sin * dx  # the shape's own coordinates
                    edge = radius * (1 + depth * math.cos(lobes * math.atan2(v, u)))
                    cover = min(max((edge - math.hypot(u, v)) * scale / step + 0.5, 0.0), 1.0)
                    value += cover * (_texel(skins[shape], u, v) - value)
            plane[row, column] = int(value + 0.5)


def render(shot: Shot, motion: str, frame: int) -> Plane:
    """Draw one frame.

    Returns:
        (H * 3 / 2, W) planes Y, Cb, Cr of 4:2:0 video one after the other.
    """
    moving = [*shot.distractors, (shot.shape, motion)]
    poses = [pose_at(shape, its_motion, frame) for shape, its_motion in moving]
    pan_x, pan_y = shot.camera[0] * frame, shot.camera[1] * frame
    pose_table = np.array([(pose.x + pan_x, pose.y + pan_y, pose.angle, pose.scale) for pose in poses])
    outlines = np.array([(shape.radius, shape.lobes, shape.depth) for shape, _ in moving], np.float64)
    shift = (shot.drift[0] * frame + pan_x, shot.drift[1] * frame + pan_y)
    picture = np.empty(HEIGHT * WIDTH * 3 // 2, dtype=np.uint8)
    luma, chroma = HEIGHT * WIDTH, HEIGHT * WIDTH // 4
    for index, (begin, step) in enumerate(((0, 1), (luma, 2), (luma + chroma, 2))):
        height, width = HEIGHT // step, WIDTH // step
        plane = picture[begin : begin + height * width].reshape(height, width)
        skins = np.stack([shape.skin[index] for shape, _ in moving])
        _render_plane(plane, step, shot.ground[index], shift, skins, pose_table, outlines)
    return picture.reshape(-1, WIDTH)


def frames(shots: Sequence[Shot], motion: str) -> Iterator[Plane]:
    """Frames of a video: the shots one after the other, a group of pictures each."""
    for shot in shots:
        for frame in range(GOP):
            yield render(shot, motion, frame)


def write_video(path: Path, shots: Sequence[Shot], motion: str) -> None:
    """Write MPEG-4 Part 2 as the field prepares it: fixed quantiser, an I-frame every GOP, no B-frames.

    The file gets its name only once it is whole.
    """
    with atomic_path(path) as unfinished, av.open(str(unfinished), "w", format="mp4") as container:
        stream = container.add_stream("mpeg4", rate=FPS)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.gop_size, stream.max_b_frames = GOP, 0
        stream.thread_count = 1  # slices of several threads would change the bytes
        stream.options = {"flags": "+qscale", "global_quality": str(QUANTISER * LAMBDA)}
        for picture in frames(shots, motion):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="yuv420p")))
        container.mux(stream.encode())
