"""The pictures of :class:`MotionShapes`: textured shapes that move over textured grounds, as MPEG-4 files.

A scene is a row of shots, one for each group of pictures. A shot draws its textures, shape and pose without
regard to the class; the class decides only how the pose changes from the first frame of the shot on. So the
I-frames of a scene are the same picture, byte for byte, in all classes: they tell nothing about the class.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import numba
import numpy as np
import numpy.typing as npt

from cvr_lightning.atomic import atomic_path

CLASS_NAMES = (
    "circle",
    "down",
    "left",
    "right",
    "rotate_clockwise",
    "rotate_counterclockwise",
    "shake",
    "up",
    "zoom_in",
    "zoom_out",
)
"""What the shape does, sorted as a folder of classes is."""

WIDTH, HEIGHT, FPS = 340, 256, 25
GOP = 12
SHOTS = 3
QUANTISER = 2
LAMBDA = 118
"""FFmpeg counts the quality of a stream in units of 1/118 quantiser (FF_QP2LAMBDA)."""

DIRECTIONS = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}
SPINS = {"rotate_clockwise": 1, "rotate_counterclockwise": -1}
ZOOMS = {"zoom_in": 1, "zoom_out": -1}
SHAKE_PERIOD, CIRCLE_PERIOD = 7, 11
"""Frames of one turn."""

TILE = 128
"""Side of a texture in texels; a texel is 2 pixels wide and the texture repeats."""
WAVES = 10
"""Plane waves that are summed into a texture."""

Texture = npt.NDArray[np.float32]
Plane = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Pose:
    """Where the shape is: centre in pixels, angle in radians clockwise, scale."""

    x: float
    y: float
    angle: float = 0.0
    scale: float = 1.0


@dataclass(frozen=True)
class Shot:
    """All that a shot draws at random; nothing of it depends on the class.

    Attributes:
        ground: (3, TILE, TILE) texture of the background, planes Y, Cb, Cr.
        skin: (3, TILE, TILE) texture of the shape.
        drift: Velocity of the background in pixels per frame.
        start: Pose in the first frame.
        radius: Mean radius of the shape in pixels.
        lobes: Bulges of its outline.
        depth: Relative height of the bulges.
        speed: Pixels per frame of the classes that move along a path.
        spin: Radians per frame of the classes that rotate.
        zoom: Logarithm of the scale per frame of the classes that zoom.
        phase: Where on its path the shape starts, in radians.
    """

    ground: Texture
    skin: Texture
    drift: tuple[float, float]
    start: Pose
    radius: float
    lobes: int
    depth: float
    speed: float
    spin: float
    zoom: float
    phase: float


def draw_shot(rng: np.random.Generator) -> Shot:
    """Draw a shot whose shape stays inside the frame whatever it does."""
    bearing, drift = rng.uniform(0, 2 * math.pi), rng.uniform(0, 1)
    return Shot(
        ground=draw_texture(rng, finest=10),
        skin=draw_texture(rng, finest=16),
        drift=(drift * math.cos(bearing), drift * math.sin(bearing)),
        start=Pose(
            x=WIDTH / 2 + rng.uniform(-28, 28),
            y=HEIGHT / 2 + rng.uniform(-18, 18),
            angle=rng.uniform(0, 2 * math.pi),
        ),
        radius=rng.uniform(38, 52),
        lobes=int(rng.integers(2, 7)),
        depth=rng.uniform(0.05, 0.25),
        speed=rng.uniform(2.0, 4.0),
        spin=rng.uniform(0.05, 0.09),
        zoom=rng.uniform(0.03, 0.045),
        phase=rng.uniform(0, 2 * math.pi),
    )


def draw_texture(rng: np.random.Generator, finest: int) -> Texture:
    """Sum plane waves of up to ``finest`` periods per tile into the planes Y, Cb, Cr.

    Returns:
        (3, TILE, TILE) grey levels in video range.
    """
    position = 2 * math.pi * np.arange(TILE) / TILE
    radius, bearing = rng.uniform(2, finest, WAVES), rng.uniform(0, 2 * math.pi, WAVES)
    # Whole periods, so that the tile repeats without a seam.
    down = np.rint(radius * np.sin(bearing))[:, None, None] * position[:, None]
    across = np.rint(radius * np.cos(bearing))[:, None, None] * position
    waves = np.cos(down + across + rng.uniform(0, 2 * math.pi, WAVES)[:, None, None])
    planes = np.einsum("pw,wyx->pyx", rng.normal(size=(3, WAVES)), waves)
    planes /= planes.std(axis=(1, 2), keepdims=True)
    mean = np.array([rng.uniform(90, 160), rng.uniform(100, 156), rng.uniform(100, 156)])
    planes = mean[:, None, None] + np.array([30.0, 18.0, 18.0])[:, None, None] * planes
    texture: Texture = planes.clip(16, 235).astype(np.float32)
    return texture


def pose_at(shot: Shot, motion: str, frame: int) -> Pose:
    """Pose of the shape in a frame of its shot; frame 0 is the same for all motions."""
    start = shot.start
    if motion in DIRECTIONS:
        right, down = DIRECTIONS[motion]
        way = shot.speed * frame
        return Pose(start.x + right * way, start.y + down * way, start.angle)
    if motion in SPINS:
        return Pose(start.x, start.y, start.angle + SPINS[motion] * shot.spin * frame)
    if motion in ZOOMS:
        return Pose(start.x, start.y, start.angle, math.exp(ZOOMS[motion] * shot.zoom * frame))
    period = SHAKE_PERIOD if motion == "shake" else CIRCLE_PERIOD
    reach = shot.speed * period / (2 * math.pi)
    turn = shot.phase + 2 * math.pi * frame / period
    x = start.x + reach * (math.cos(turn) - math.cos(shot.phase))
    y = start.y if motion == "shake" else start.y + reach * (math.sin(turn) - math.sin(shot.phase))
    return Pose(x, y, start.angle)


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
    skin: Texture,
    shift: tuple[float, float],
    pose: tuple[float, float, float, float],
    outline: tuple[float, int, float],
) -> None:
    """Fill one plane whose samples lie ``step`` pixels apart; see :class:`Shot` for the units."""
    cx, cy, angle, scale = pose
    radius, lobes, depth = outline
    cos, sin = math.cos(angle) / scale, math.sin(angle) / scale
    reach = (radius * (1 + depth) * scale + step) ** 2
    for row in range(plane.shape[0]):
        y = (row + 0.5) * step - 0.5
        for column in range(plane.shape[1]):
            x = (column + 0.5) * step - 0.5
            value = _texel(ground, x - shift[0], y - shift[1])
            dx, dy = x - cx, y - cy
            if dx * dx + dy * dy < reach:
                u, v = cos * dx + sin * dy, cos * dy - sin * dx  # the shape's own coordinates
                edge = radius * (1 + depth * math.cos(lobes * math.atan2(v, u)))
                cover = min(max((edge - math.hypot(u, v)) * scale / step + 0.5, 0.0), 1.0)
                value += cover * (_texel(skin, u, v) - value)
            plane[row, column] = int(value + 0.5)


def render(shot: Shot, motion: str, frame: int) -> Plane:
    """Draw one frame.

    Returns:
        (H * 3 / 2, W) planes Y, Cb, Cr of 4:2:0 video one after the other.
    """
    pose = pose_at(shot, motion, frame)
    picture = np.empty(HEIGHT * WIDTH * 3 // 2, dtype=np.uint8)
    luma, chroma = HEIGHT * WIDTH, HEIGHT * WIDTH // 4
    for index, (begin, step) in enumerate(((0, 1), (luma, 2), (luma + chroma, 2))):
        height, width = HEIGHT // step, WIDTH // step
        _render_plane(
            picture[begin : begin + height * width].reshape(height, width),
            step,
            shot.ground[index],
            shot.skin[index],
            (shot.drift[0] * frame, shot.drift[1] * frame),
            (pose.x, pose.y, pose.angle, pose.scale),
            (shot.radius, shot.lobes, shot.depth),
        )
    return picture.reshape(-1, WIDTH)


def frames(shots: list[Shot], motion: str) -> Iterator[Plane]:
    """Frames of a video: the shots one after the other, a group of pictures each."""
    for shot in shots:
        for frame in range(GOP):
            yield render(shot, motion, frame)


def write_video(path: Path, shots: list[Shot], motion: str) -> None:
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
