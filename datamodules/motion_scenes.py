"""Scenes of :class:`MotionShapes`: textured shapes that move over textured backgrounds.

A scene is a sequence of shots, one per group of pictures. A shot draws its textures, shapes and poses
independently of the class; the class only determines how the pose changes after the first frame of the shot.
So the I-frames of a scene are identical, byte for byte, in all classes. A hard shot (:func:`draw_hard_shot`)
adds a moving camera, other moving things, and appearances correlated with the class (:func:`dress`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

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
"""Motions of the shape, sorted like class folders."""

WIDTH, HEIGHT = 340, 256
GOP = 12
SHOTS = 3

DIRECTIONS = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}
SPINS = {"rotate_clockwise": 1, "rotate_counterclockwise": -1}
ZOOMS = {"zoom_in": 1, "zoom_out": -1}
SHAKE_PERIOD, CIRCLE_PERIOD = 7, 11
"""Frames per turn."""

DISTRACTORS = 2
"""Number of smaller shapes in a hard shot, with their own motions."""
CAMERA = 1.5
"""Largest velocity of a hard shot's camera, in pixels per frame."""
TINT = 36.0
"""Distance of a dressed shape's color from gray, in levels of Cb and Cr."""

TILE = 128
"""Side of a texture in texels; a texel is 2 pixels wide and the texture repeats."""
WAVES = 10
"""Number of plane waves summed into a texture."""

Texture = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Pose:
    """Pose of a shape: center in pixels, angle in radians clockwise, scale."""

    x: float
    y: float
    angle: float = 0.0
    scale: float = 1.0


@dataclass(frozen=True)
class Shape:
    """A shape and the speeds of its motions, independent of the class.

    Attributes:
        skin: (3, TILE, TILE) texture, planes Y, Cb, Cr.
        start: Pose in the first frame.
        radius: Mean radius in pixels.
        lobes: Number of bulges of its outline.
        depth: Relative height of the bulges.
        speed: Pixels per frame in classes that move along a path.
        spin: Radians per frame in classes that rotate.
        zoom: Logarithm of the scale per frame in classes that zoom.
        phase: Start on its path, in radians.
    """

    skin: Texture
    start: Pose
    radius: float
    lobes: int
    depth: float
    speed: float
    spin: float
    zoom: float
    phase: float


@dataclass(frozen=True)
class Shot:
    """Random values of a shot.

    Attributes:
        ground: (3, TILE, TILE) texture of the background, planes Y, Cb, Cr.
        drift: Velocity of the background in pixels per frame.
        shape: The shape whose motion is the class.
        camera: Velocity of the whole image, in pixels per frame.
        distractors: Other shapes and their motions, behind the shape.
    """

    ground: Texture
    drift: tuple[float, float]
    shape: Shape
    camera: tuple[float, float] = (0.0, 0.0)
    distractors: tuple[tuple[Shape, str], ...] = ()


def draw_shot(rng: np.random.Generator) -> Shot:
    """Draw a shot whose shape stays inside the frame in every motion."""
    drift = _velocity(rng, fastest=1.0)
    ground = draw_texture(rng, finest=10)
    return Shot(ground, drift, draw_shape(rng, away=(28, 18), radius=(38, 52)))


def draw_hard_shot(rng: np.random.Generator) -> Shot:
    """Draw a shot with a moving camera and distractors; the largest shape defines the class."""
    shot = draw_shot(rng)
    motions = rng.choice(CLASS_NAMES, DISTRACTORS)
    others = [draw_shape(rng, away=(120, 85), radius=(14, 22)) for _ in range(DISTRACTORS)]
    pairs = tuple((shape, str(motion)) for shape, motion in zip(others, motions, strict=True))
    return replace(shot, camera=_velocity(rng, fastest=CAMERA), distractors=pairs)


def draw_shape(rng: np.random.Generator, away: tuple[float, float], radius: tuple[float, float]) -> Shape:
    """Draw a shape.

    Args:
        rng: Source of randomness.
        away: Largest initial distance from the center of the frame, across and down, in pixels.
        radius: Smallest and largest mean radius in pixels.
    """
    return Shape(
        skin=draw_texture(rng, finest=16),
        start=Pose(
            x=WIDTH / 2 + rng.uniform(-away[0], away[0]),
            y=HEIGHT / 2 + rng.uniform(-away[1], away[1]),
            angle=rng.uniform(0, 2 * math.pi),
        ),
        radius=rng.uniform(*radius),
        lobes=int(rng.integers(2, 7)),
        depth=rng.uniform(0.05, 0.25),
        speed=rng.uniform(2.0, 4.0),
        spin=rng.uniform(0.05, 0.09),
        zoom=rng.uniform(0.03, 0.045),
        phase=rng.uniform(0, 2 * math.pi),
    )


def _velocity(rng: np.random.Generator, fastest: float) -> tuple[float, float]:
    bearing, speed = rng.uniform(0, 2 * math.pi), rng.uniform(0, fastest)
    return speed * math.cos(bearing), speed * math.sin(bearing)


def draw_texture(rng: np.random.Generator, finest: int) -> Texture:
    """Sum plane waves of up to ``finest`` periods per tile into the planes Y, Cb, Cr.

    Returns:
        (3, TILE, TILE) gray levels in video range.
    """
    position = 2 * math.pi * np.arange(TILE) / TILE
    radius, bearing = rng.uniform(2, finest, WAVES), rng.uniform(0, 2 * math.pi, WAVES)
    # Whole periods, so that the tile repeats seamlessly.
    down = np.rint(radius * np.sin(bearing))[:, None, None] * position[:, None]
    across = np.rint(radius * np.cos(bearing))[:, None, None] * position
    waves = np.cos(down + across + rng.uniform(0, 2 * math.pi, WAVES)[:, None, None])
    planes = np.einsum("pw,wyx->pyx", rng.normal(size=(3, WAVES)), waves)
    planes /= planes.std(axis=(1, 2), keepdims=True)
    mean = np.array([rng.uniform(90, 160), rng.uniform(100, 156), rng.uniform(100, 156)])
    planes = mean[:, None, None] + np.array([30.0, 18.0, 18.0])[:, None, None] * planes
    return _in_video_range(planes)


def dress(shape: Shape, label: int) -> Shape:
    """Color a shape for a class: mean Cb and Cr on a circle around gray."""
    hue = 2 * math.pi * label / len(CLASS_NAMES)
    chroma = np.array([math.cos(hue), math.sin(hue)])[:, None, None]
    planes = shape.skin.astype(np.float64)
    planes[1:] += 128 + TINT * chroma - planes[1:].mean(axis=(1, 2), keepdims=True)
    return replace(shape, skin=_in_video_range(planes))


def _in_video_range(planes: npt.NDArray[np.float64]) -> Texture:
    texture: Texture = planes.clip(16, 235).astype(np.float32)
    return texture


def pose_at(shape: Shape, motion: str, frame: int) -> Pose:
    """Pose of a shape in a frame of its shot; frame 0 is the same for all motions."""
    start = shape.start
    if motion in DIRECTIONS:
        right, down = DIRECTIONS[motion]
        way = shape.speed * frame
        return Pose(start.x + right * way, start.y + down * way, start.angle)
    if motion in SPINS:
        return Pose(start.x, start.y, start.angle + SPINS[motion] * shape.spin * frame)
    if motion in ZOOMS:
        return Pose(start.x, start.y, start.angle, math.exp(ZOOMS[motion] * shape.zoom * frame))
    period = SHAKE_PERIOD if motion == "shake" else CIRCLE_PERIOD
    reach = shape.speed * period / (2 * math.pi)
    turn = shape.phase + 2 * math.pi * frame / period
    x = start.x + reach * (math.cos(turn) - math.cos(shape.phase))
    y = start.y if motion == "shake" else start.y + reach * (math.sin(turn) - math.sin(shape.phase))
    return Pose(x, y, start.angle)
