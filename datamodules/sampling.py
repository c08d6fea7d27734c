"""Sampling: the windows and crops that make a clip.

Data is a pure function of (seed, epoch, video, view), independent of the number of workers or processes and
of resuming. This module does not import torch, which processes that only read would take seconds to load.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, NamedTuple, get_args

import numpy as np

from cvr_lightning.codec.arrays import BLOCK, MODALITIES, Modality
from cvr_lightning.codec.choice import ParserName
from cvr_lightning.codec.prepared.form import Form
from cvr_lightning.codec.prepared.recipe import RECIPE, Recipe
from cvr_lightning.datamodules.protocols import Crops
from cvr_lightning.files.bounds import CLIP_PIXELS, PREPARED_PIXELS
from cvr_lightning.files.printable import counted

MOST_VIEWS = 1000
"""Limit for views per video, since checkpoints set it."""
ClipRepresentation = Literal["block", "pixel", "rgb"]
"""Representation of P-frames, or decoded frames only."""


class Draw(NamedTuple):
    """One item of an epoch."""

    epoch: int
    video: int
    view: int


def check_choice(name: str, value: object, choices: Sequence[object]) -> None:
    """Refuse an unsupported value.

    Raises:
        ValueError: Lists the supported values.
    """
    if value not in choices:
        raise ValueError(f"{name}={value!r} is not supported; choose one of {', '.join(map(repr, choices))}")


def check_seed(name: str, value: int) -> None:
    """Refuse a negative seed.

    Raises:
        ValueError: The seed is negative.
    """
    if value < 0:
        raise ValueError(f"{name}={value} must not be negative")


def training_offsets(seed: int, epoch: int, video: int, segments: int) -> tuple[float, ...]:
    """Random position of the window in each of the video's spans, new in each epoch (temporal jitter).

    Returns:
        (N,) offsets in [0, 1).
    """
    return tuple(np.random.default_rng((seed, epoch, video)).random(segments).tolist())


def clip_generators(seed: int, epoch: int, videos: Iterable[int]) -> list[np.random.Generator]:
    """Random generators for augmentation of each video's clip, independent of those for windows."""
    return [np.random.default_rng((seed, epoch, video, 1)) for video in videos]


def view_offset(view: int, views: int) -> float:
    """Position of the window in every span for a temporal view: centers of equal intervals.

    Returns:
        Offset in (0, 1); 0.5 for a single view.
    """
    return (view + 0.5) / views


def crop_corners(size: tuple[int, int], side: int, crops: Crops) -> list[tuple[int, int]]:
    """Corners of the spatial views of a frame, on the 8-pixel grid.

    Args:
        size: (H, W) of the frame in pixels.
        side: Side of the squares in pixels.
        crops: 1 for the center; 3 for both ends and the middle of the longer side; 5 for the four corners and
            the center; 10 for these five and their mirror images.

    Returns:
        (top, left) of each square in pixels: 1, 3, or 5 (mirror images not repeated). Pixels beyond a
        multiple of 8 at the right and bottom are not used.
    """
    bottom, right = ((length - side) // BLOCK * BLOCK for length in size)
    top_middle, left_middle = ((length - side) // 2 // BLOCK * BLOCK for length in size)
    center = (top_middle, left_middle)
    if crops == 1:
        return [center]
    if crops == 3:
        along_width = [(top_middle, 0), center, (top_middle, right)]
        along_height = [(0, left_middle), center, (bottom, left_middle)]
        return along_width if size[1] >= size[0] else along_height
    return [(0, 0), (0, right), (bottom, 0), (bottom, right), center]


@dataclass(frozen=True)
class ClipSampling:
    """How files are read into clips; everything needed to read another file in the same way.

    Attributes:
        segments: Windows N spread over the video.
        pframes: P-frames T per window.
        size: (H, W) of the frames that the reader delivers, in pixels.
        crop: Side S of the model's square crop in pixels, a multiple of 8.
        representation: ``block`` for the codec's 8x8 grid, ``pixel`` for full-size images, ``rgb`` for a
            decoded frame per segment without P-frames.
        accumulate: Trace motion and residual back to the I-frame (CoViAR's definition).
        modalities: Fields to read; others are zero.
        coefficients: DCT coefficients per luma block and per chroma block, in zigzag order.
        views: Temporal views per video.
        crops: Spatial views per temporal view; see :func:`crop_corners`.
        parser: The reader's parser.
        form: ``stored`` reads files as they are, and refuses those that lack a field. ``auto`` prepares
            these in memory, as ``cvr prepare`` would; ``prepared`` prepares all that lack the recipe's form.
        recipe: The form of preparation.
    """

    segments: int = 8
    pframes: int = 3
    size: tuple[int, int] = (256, 340)
    crop: int = 224
    representation: ClipRepresentation = "block"
    accumulate: bool = False
    modalities: tuple[Modality, ...] = MODALITIES
    coefficients: tuple[int, int] = (16, 4)
    views: int = 1
    crops: Crops = 1
    parser: ParserName = "auto"
    form: Form = "stored"
    recipe: Recipe = RECIPE

    def __post_init__(self) -> None:
        check_choice("representation", self.representation, get_args(ClipRepresentation))
        check_choice("parser", self.parser, get_args(ParserName))
        check_choice("crops", self.crops, get_args(Crops))
        check_choice("form", self.form, get_args(Form))
        if not self.modalities:
            raise ValueError(
                f"modalities is empty; choose at least one of {', '.join(map(repr, MODALITIES))}"
            )
        for modality in self.modalities:
            check_choice("modalities", modality, MODALITIES)
        if self.representation == "rgb" and self.modalities == MODALITIES:
            object.__setattr__(self, "modalities", ("iframes",))  # decoded frames take their place
        if self.representation == "rgb" and self.modalities != ("iframes",):
            raise ValueError(
                f"modalities={self.modalities}: representation='rgb' reads decoded frames only; use "
                "('iframes',)"
            )
        for name in ("size", "coefficients"):  # a checkpoint's lists have any length
            if len(getattr(self, name)) != 2:
                raise ValueError(f"{name}={getattr(self, name)} must be two numbers")
        for name in ("segments", "pframes", "views"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)} must be at least 1")
        if self.crop < BLOCK or self.crop % BLOCK or self.crop > min(self.size):
            raise ValueError(
                f"crop={self.crop} must be a multiple of {BLOCK} (of 32 for this package's models) that "
                f"fits the frames of size={self.size}"
            )
        corners = crop_corners(self.size, self.crop, self.crops)
        if len(set(corners)) < len(corners):
            raise ValueError(
                f"crops={self.crops} of crop={self.crop} would coincide in frames of size={self.size}: "
                "read larger frames or choose a smaller crop"
            )
        if not all(1 <= count <= BLOCK * BLOCK for count in self.coefficients):
            raise ValueError(f"coefficients={self.coefficients} must be between 1 and {BLOCK * BLOCK}")

    @property
    def residual_channels(self) -> int:
        """Channels C of the residual: coefficients of luma, Cb and Cr, or RGB in the pixel representation."""
        luma, chroma = self.coefficients
        return 3 if self.representation == "pixel" else luma + 2 * chroma

    def summary(self) -> str:
        """What a clip is, in a few words."""
        if self.representation == "rgb":
            return f"{counted(self.segments, 'frame')}, {self.crop} px"
        segments = counted(self.segments, "segment")
        return f"{segments} x {counted(self.pframes, 'P-frame')}, {self.crop} px"

    def to_dict(self) -> dict[str, Any]:
        """Convert to plain numbers, strings and lists, for checkpoints and JSON."""
        return _with_lists(asdict(self))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ClipSampling:
        """The inverse of :meth:`to_dict`.

        Raises:
            ValueError: A value is missing, unknown or out of range.
            LimitError: A clip would have more pixels than allowed for checkpoints.
        """
        known = {item.name for item in fields(cls)}
        if set(values) != known:
            raise ValueError(
                f"clip sampling: missing {sorted(known - set(values))}, unknown {sorted(set(values) - known)}"
            )
        recipe = values["recipe"]
        if set(recipe) != {item.name for item in fields(Recipe)}:
            raise ValueError(f"recipe: unknown or missing names in {sorted(recipe)}")
        sampling = cls(**_with_tuples({**values, "recipe": Recipe(**_with_tuples(recipe))}))
        delivered, segments = math.prod(sampling.size), sampling.segments
        prepared = math.prod(sampling.recipe.size or (sampling.recipe.short_side or 0,) * 2)
        CLIP_PIXELS.check(segments * sampling.pframes * max(delivered, prepared))
        PREPARED_PIXELS.check(segments * sampling.recipe.gop * prepared)
        if sampling.views > MOST_VIEWS:
            raise ValueError(f"views={sampling.views} must be at most {MOST_VIEWS}")
        return sampling


def _with_lists(values: Mapping[str, Any]) -> dict[str, Any]:
    """Tuples become lists, also in sections."""
    return {
        name: _with_lists(value)
        if isinstance(value, Mapping)
        else list(value)
        if isinstance(value, tuple)
        else value
        for name, value in values.items()
    }


def _with_tuples(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
