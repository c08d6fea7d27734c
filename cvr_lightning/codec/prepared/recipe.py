"""The format of prepared videos."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # a run reads no video itself: its workers do
    from cvr_lightning.codec.reader import CompressedVideoReader

SUFFIX = ".mp4"
"""Suffix of encoded files; a video that already has the format keeps its name."""
MAX_SIDE = 8190
"""MPEG-4 Part 2 stores sides in 13 bits; 4:2:0 needs even sides."""
MAX_GOP = 600
"""Limit of FFmpeg's encoder."""
VERSION = 2
"""Incremented when the same recipe produces other bytes with the same FFmpeg release."""


@dataclass(frozen=True)
class Recipe:
    """MPEG-4 Part 2 with I- and P-frames at quantizer 2, square pixels, in mp4.

    Attributes:
        size: (W, H) in pixels regardless of the source's aspect ratio, or None.
        short_side: Shorter side in pixels, keeping the aspect ratio, or None; exactly one of the two is set.
        gop: Distance between two I-frames in frames.
    """

    size: tuple[int, int] | None = (340, 256)
    short_side: int | None = None
    gop: int = 12

    def __post_init__(self) -> None:
        if (self.size is None) == (self.short_side is None):
            raise ValueError(f"size={self.size}, short_side={self.short_side}: give one of the two")
        sides = (self.short_side,) * 2 if self.size is None else self.size
        if len(sides) != 2 or not all(side and 0 < side <= MAX_SIDE and side % 2 == 0 for side in sides):
            raise ValueError(f"{sides}: two sides, even and at most {MAX_SIDE}, since 4:2:0 halves them")
        if not 1 <= self.gop <= MAX_GOP:
            raise ValueError(f"gop={self.gop} must be between 1 and {MAX_GOP}")

    def size_of(self, width: int, height: int, pixel_aspect: Fraction = Fraction(1)) -> tuple[int, int]:
        """Output size (W, H) of a video.

        With ``short_side`` the display aspect ratio is kept; the longer side is rounded to the nearest even
        number, as 4:2:0 sampling requires.

        Args:
            width: Width of the video after rotation for display, in samples.
            height: Its height.
            pixel_aspect: Width of a sample over its height, after rotation.
        """
        if self.size is not None:
            return self.size
        assert self.short_side is not None
        aspect = Fraction(width, height) * pixel_aspect
        longer = 2 * round(self.short_side * max(aspect, 1 / aspect) / 2)
        return (longer, self.short_side) if aspect >= 1 else (self.short_side, longer)

    def misfit(self, video: CompressedVideoReader) -> str:
        """Why a video does not have this format, empty if it has.

        The quantizer is not checked: encoding again cannot restore what a coarser one has lost.
        """
        info = video.info
        wanted = self.size or self.size_of(info.width, info.height, video.pixel_aspect)
        if video.parser != "mpeg4":
            return f"{info.codec} instead of MPEG-4 Part 2" if info.codec != "mpeg4" else video.reason
        if info.rotation:
            return f"turned by {info.rotation} degrees for display"
        if (info.width, info.height) != wanted:
            return f"{info.width}x{info.height} instead of {wanted[0]}x{wanted[1]}"
        if info.frame_types.strip("IP") or not info.frame_types.startswith("I"):
            return "other frames than I and P, or none of them first"
        if max(info.gop_lengths) > self.gop:
            return f"GOPs of up to {max(info.gop_lengths)} frames instead of {self.gop}"
        return ""

    def __str__(self) -> str:
        size = f"{self.size[0]}x{self.size[1]}" if self.size else f"short side {self.short_side}"
        return f"MPEG-4 Part 2, {size}, an I-frame every {self.gop} frames"

    def to_dict(self) -> dict[str, Any]:
        """As recorded in the destination."""
        size = f"{self.size[0]}x{self.size[1]}" if self.size else f"short side {self.short_side}"
        return {"version": VERSION, "codec": "mpeg4", "quantizer": 2, "size": size, "gop": self.gop}


RECIPE = Recipe()
"""The usual form of the field."""
