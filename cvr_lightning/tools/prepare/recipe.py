"""What every prepared video is made to be."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # a run reads no video itself: its workers do
    from cvr_lightning.codec import CompressedVideoReader

SUFFIX = ".mp4"
"""Of all files that are encoded; one that already has the form keeps its name."""
VERSION = 1
"""Grows whenever the same recipe would give other bytes from the same release of FFmpeg."""


@dataclass(frozen=True)
class Recipe:
    """MPEG-4 Part 2 of I- and P-frames at quantiser 2, square pixels, in mp4.

    Attributes:
        size: (W, H) in pixels whatever the source's aspect, or None.
        short_side: Pixels of the shorter side where the aspect is kept, or None; one of the two is given.
        gop: Largest distance between two I-frames; a cut in the film starts a GOP early.
    """

    size: tuple[int, int] | None = (340, 256)
    short_side: int | None = None
    gop: int = 12

    def size_of(self, width: int, height: int, pixel_aspect: Fraction = Fraction(1)) -> tuple[int, int]:
        """(W, H) that a video gets.

        With ``short_side`` the sides keep the proportion in which the video is displayed; the longer one is
        rounded to the nearest even number, as 4:2:0 sampling halves it.

        Args:
            width: Width of the video after rotation for display, in samples.
            height: Its height.
            pixel_aspect: Width of a sample over its height, likewise.
        """
        if self.size is not None:
            return self.size
        assert self.short_side is not None
        aspect = Fraction(width, height) * pixel_aspect
        longer = 2 * round(self.short_side * max(aspect, 1 / aspect) / 2)
        return (longer, self.short_side) if aspect >= 1 else (self.short_side, longer)

    def misfit(self, video: CompressedVideoReader, pixel_aspect: Fraction = Fraction(1)) -> str:
        """Why a video does not have this form, empty where it has.

        Its quantiser is not looked at: encoding anew brings back nothing that a coarser one has lost.
        """
        info = video.info
        wanted = self.size_of(info.width, info.height, pixel_aspect)
        if video.parser != "mpeg4":
            return video.reason
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
        """What a destination records of itself."""
        size = f"{self.size[0]}x{self.size[1]}" if self.size else f"short side {self.short_side}"
        return {"version": VERSION, "codec": "mpeg4", "quantiser": 2, "size": size, "gop": self.gop}
