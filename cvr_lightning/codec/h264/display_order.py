"""Display order of H.264 pictures as they arrive (ITU-T H.264, C.4.5.3 and Annex E)."""

from __future__ import annotations

from bisect import insort
from typing import Generic, NamedTuple, Protocol, TypeVar

from cvr_lightning.codec.bitstream.bits import BitReader

MOST_REORDERED = 16
_BUFFER_MACROBLOCKS = {
    **dict.fromkeys((9, 10), 396), 11: 900, **dict.fromkeys((12, 13, 20), 2376), 21: 4752,
    **dict.fromkeys((22, 30), 8100), 31: 18000, 32: 20480, **dict.fromkeys((40, 41), 32768), 42: 34816,
    50: 110400, **dict.fromkeys((51, 52), 184320),
}  # fmt: skip
"""MaxDpbMbs of each level (Table A-1)."""
_LARGEST_BUFFER = 696320
_EXTENDED_ASPECT = 255


class Reordering(NamedTuple):
    """How far pictures may be displayed later than they are decoded.

    Attributes:
        depth: Most pictures that precede one in coded order and follow it in display order.
        declared: The stream declares the depth; otherwise it is the limit of its level.
    """

    depth: int
    declared: bool


def buffered_frames(level: int, macroblocks: int) -> int:
    """MaxDpbFrames: frames that a decoder of a level holds (A.3.1)."""
    return min(_BUFFER_MACROBLOCKS.get(level, _LARGEST_BUFFER) // macroblocks, MOST_REORDERED)


def declared_depth(bits: BitReader) -> int | None:
    """Read max_num_reorder_frames from VUI parameters (E.1.1), None if absent or cut short."""
    try:
        return _declared_depth(bits)
    except EOFError:
        return None


def _declared_depth(bits: BitReader) -> int | None:
    if bits.flag() and bits.read(8) == _EXTENDED_ASPECT:
        bits.skip(32)
    if bits.flag():  # overscan_info
        bits.skip(1)
    if bits.flag():  # video_signal_type
        bits.skip(4)
        if bits.flag():
            bits.skip(24)
    if bits.flag():  # chroma_loc_info
        bits.unsigned()
        bits.unsigned()
    if bits.flag():  # timing_info
        bits.skip(65)
    buffering = [_skip_buffering(bits) for _ in range(2)]
    if any(buffering):
        bits.skip(1)  # low_delay_hrd
    bits.skip(1)  # pic_struct_present
    if not bits.flag():
        return None
    bits.skip(1)
    for _ in range(4):
        bits.unsigned()
    return min(bits.unsigned(), MOST_REORDERED)


def _skip_buffering(bits: BitReader) -> bool:
    """Skip hrd_parameters (E.1.2), if present."""
    if not bits.flag():
        return False
    count = bits.unsigned() + 1
    bits.skip(8)
    for _ in range(count):
        bits.unsigned()
        bits.unsigned()
        bits.skip(1)
    bits.skip(20)
    return True


class Ordered(Protocol):
    """A picture with its place in display order."""

    @property
    def epoch(self) -> int:
        """How often order counts have started again."""

    @property
    def order(self) -> int:
        """Picture order count."""

    @property
    def idr(self) -> bool:
        """An IDR picture."""


T = TypeVar("T", bound=Ordered)


class LatePictureError(Exception):
    """A picture is displayed before one that has been passed on."""


class DisplayOrder(Generic[T]):
    """Passes pictures on in display order, as soon as no later one can precede them.

    This is known from the declared depth. If no depth is declared, a picture is also passed on if its order
    count directly follows the last one: a wait for the limit of the level would delay most live streams.

    Attributes:
        waiting: Pictures that have not been passed on.
    """

    def __init__(self) -> None:
        self.waiting: list[T] = []
        self._last: T | None = None
        self._unit = 2  # order counts per frame

    def add(self, picture: T, reordering: Reordering) -> list[T]:
        """Add the next picture in coded order; returns those that are passed on.

        Raises:
            LatePictureError: Its place in display order has passed; the picture is dropped.
        """
        out = []
        if self.waiting and picture.epoch != self.waiting[0].epoch:
            out = self.flush()
        last = self._last if self._last and self._last.epoch == picture.epoch else None
        if last and picture.order <= last.order:
            raise LatePictureError
        if picture.order % 2:
            self._unit = 1
        insort(self.waiting, picture, key=lambda other: other.order)
        while self.waiting and (len(self.waiting) > reordering.depth or self._follows(reordering)):
            out.append(self.waiting.pop(0))
            self._last = out[-1]
        return out

    def flush(self) -> list[T]:
        """Pass on all pictures."""
        out, self.waiting = self.waiting, []
        self._last = out[-1] if out else self._last
        return out

    def _follows(self, reordering: Reordering) -> bool:
        """Whether the first waiting picture directly follows the last one, if no depth is declared."""
        if reordering.declared:
            return False
        first, last = self.waiting[0], self._last
        if first.idr:  # pictures shown before an IDR picture come directly after it
            return len(self.waiting) > 1
        return last is not None and last.epoch == first.epoch and first.order <= last.order + self._unit
