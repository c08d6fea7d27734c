"""Which windows of a video make a clip, and in which order videos are drawn.

Data is a pure function of (seed, epoch, video, view): neither the number of workers nor a resumed run
changes it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import torch.distributed
from torch.utils.data import Sampler

from cvr_lightning.codec.arrays import BLOCK, MODALITIES, Modality
from cvr_lightning.codec.reader import ParserName

ClipRepresentation = Literal["block", "pixel", "rgb"]
"""What the reader gives of P-frames, or decoded frames alone."""


class Draw(NamedTuple):
    """One item of an epoch."""

    epoch: int
    video: int
    view: int


def check_choice(name: str, value: object, choices: Sequence[str]) -> None:
    """Refuse a value that is not among the choices.

    Raises:
        ValueError: Listing the supported values.
    """
    if value not in choices:
        raise ValueError(f"{name}={value!r} is not supported; choose one of {', '.join(map(repr, choices))}")


def training_offsets(seed: int, epoch: int, video: int, segments: int) -> tuple[float, ...]:
    """Place of the window inside each of the video's spans, drawn anew each epoch (temporal jitter).

    Returns:
        (N,) offsets in [0, 1).
    """
    return tuple(np.random.default_rng((seed, epoch, video)).random(segments).tolist())


def view_offset(view: int, views: int) -> float:
    """Place of the window inside every span for one of the temporal views: centres of equal parts.

    Returns:
        An offset in (0, 1); a single view takes the middle.
    """
    return (view + 0.5) / views


@dataclass(frozen=True)
class ClipSampling:
    """How a file becomes a clip: all that is needed to read another file in the same way.

    Attributes:
        segments: Windows N spread over the video.
        pframes: P-frames T of each window.
        size: (H, W) of the frames the reader delivers, in pixels.
        crop: Side S of the square crop that the model sees, in pixels; a multiple of 8.
        representation: ``block`` for the codec's own 8x8 grid, ``pixel`` for full-size images, ``rgb`` for a
            decoded frame in the place of each segment, and no P-frames.
        accumulate: Trace motion and residual back to the I-frame (CoViAR's definition).
        modalities: What is read; the rest is left zero.
        coefficients: DCT coefficients kept of a luma block and of each chroma block, in zigzag order.
        views: Temporal views of a video in testing.
        parser: The reader's parser.
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
    parser: ParserName = "auto"

    def __post_init__(self) -> None:
        check_choice("representation", self.representation, get_args(ClipRepresentation))
        check_choice("parser", self.parser, get_args(ParserName))
        if not self.modalities:
            raise ValueError(
                f"modalities is empty; choose at least one of {', '.join(map(repr, MODALITIES))}"
            )
        for modality in self.modalities:
            check_choice("modalities", modality, MODALITIES)
        if self.representation == "rgb" and self.modalities != ("iframes",):
            raise ValueError(
                f"modalities={self.modalities}: representation='rgb' holds decoded frames alone, which stand "
                "for ('iframes',)"
            )
        for name in ("segments", "pframes", "views"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)} must be at least 1")
        if self.crop < BLOCK or self.crop % BLOCK or self.crop > min(self.size):
            raise ValueError(
                f"crop={self.crop} must be a multiple of {BLOCK} that fits the frames of "
                f"height={self.size[0]}, width={self.size[1]}"
            )
        if not all(1 <= count <= BLOCK * BLOCK for count in self.coefficients):
            raise ValueError(f"coefficients={self.coefficients} must lie between 1 and {BLOCK * BLOCK}")

    @property
    def residual_channels(self) -> int:
        """Channels C of the residual: coefficients of luma, Cb and Cr, or RGB in the pixel representation."""
        luma, chroma = self.coefficients
        return 3 if self.representation == "pixel" else luma + 2 * chroma

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, strings and lists, as a checkpoint or a JSON file stores them."""
        values = asdict(self)
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ClipSampling:
        """The inverse of :meth:`to_dict`.

        Raises:
            ValueError: Where a value is missing, unknown or out of range.
        """
        known = {item.name for item in fields(cls)}
        if set(values) != known:
            raise ValueError(
                f"clip sampling: missing {sorted(known - set(values))}, unknown {sorted(set(values) - known)}"
            )
        plain: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in values.items()
        }
        return cls(**plain)


class VideoSampler(Sampler[Draw]):
    """Draws the videos of one process, in training shuffled by (seed, epoch).

    Rank and world size are those of :mod:`torch.distributed` where it is initialised, so the trainer needs
    ``use_distributed_sampler=False``.

    - Training: every rank draws the same number of videos. The tail of an epoch's order, fewer videos than
      there are ranks, is left out; it is another tail each epoch.
    - Evaluation: each (video, view) is drawn exactly once over all ranks, nothing is padded. The views of a
      video stay on one rank, so ranks may differ in length.

    Args:
        videos: Number of videos.
        training: Shuffle and give each rank the same number.
        seed: Seed of the order.
        views: Temporal views of each video.
    """

    def __init__(self, videos: int, training: bool, seed: int = 0, views: int = 1) -> None:
        self.videos = videos
        self.training = training
        self.seed = seed
        self.views = views
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the next iteration draws; the trainer calls this."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self._own_videos()) * self.views

    def __iter__(self) -> Iterator[Draw]:
        for video in self._own_videos():
            for view in range(self.views):
                yield Draw(self.epoch, video, view)

    def _own_videos(self) -> list[int]:
        rank, world = _rank_and_world()
        if not self.training:
            return list(range(rank, self.videos, world))
        if self.videos < world:
            raise ValueError(
                f"{self.videos} training videos cannot be shared by {world} processes: use fewer"
            )
        order = np.random.default_rng((self.seed, self.epoch)).permutation(self.videos)
        own: list[int] = order[rank : self.videos - self.videos % world : world].tolist()
        return own


def _rank_and_world() -> tuple[int, int]:
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return 0, 1
