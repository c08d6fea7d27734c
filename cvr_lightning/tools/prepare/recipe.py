"""The format of prepared videos."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # a run reads no video itself: its workers do
    from cvr_lightning.codec import CompressedVideoReader

SUFFIX = ".mp4"
"""Suffix of encoded files; a video that already has the format keeps its name."""
VERSION = 1
"""Incremented when the same recipe produces other bytes with the same FFmpeg release."""


@dataclass(frozen=True)
class Recipe:
    """MPEG-4 Part 2 with I- and P-frames at quantizer 2, square pixels, in mp4.

    Attributes:
        size: (W, H) in pixels regardless of the source's aspect ratio, or None.
        short_side: Shorter side in pixels, keeping the aspect ratio, or None; exactly one of the two is set.
        gop: Maximum distance between two I-frames; a scene cut starts a GOP early.
    """

    size: tuple[int, int] | None = (340, 256)
    short_side: int | None = None
    gop: int = 12

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

    def misfit(self, video: CompressedVideoReader, pixel_aspect: Fraction = Fraction(1)) -> str:
        """Why a video does not have this format, empty if it has.

        The quantizer is not checked: encoding again cannot restore what a coarser one has lost.
        """
        info = video.info
        wanted = self.size_of(info.width, info.height, pixel_aspect)
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

    def to_dict(self) -> dict[str, Any]:
        """As recorded in the destination."""
        size = f"{self.size[0]}x{self.size[1]}" if self.size else f"short side {self.short_side}"
        return {"version": VERSION, "codec": "mpeg4", "quantizer": 2, "size": size, "gop": self.gop}
