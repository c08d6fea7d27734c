"""Headers of H.264 packets, for the packet index."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from cvr_lightning.codec.container.pictures import Pictures
from cvr_lightning.codec.h264.header_scan import HeaderScan
from cvr_lightning.codec.h264.parameter_sets import unread_tool
from cvr_lightning.codec.h264.parameters import pack_units, read_pair
from cvr_lightning.codec.h264.pictures import (
    C_EPOCH,
    C_FRAME_NUM,
    C_IDR,
    C_KIND,
    C_LISTS,
    C_ORDER,
    C_PLAIN,
    C_REFERENCE,
    C_ROW,
    C_START,
    LETTERS,
    NO_PICTURE,
)
from cvr_lightning.codec.h264.references import MISSING
from cvr_lightning.codec.h264.slice_header import Q_FRAME_NUM_BITS, I


class PacketScanner:
    """Reads the headers of H.264 packets.

    Args:
        extradata: What the container knows beforehand.

    Attributes:
        headers: The parameter sets that were in force, see :func:`pack_units`, once all packets are taken.
        plain: Each packet holds one whole frame of one type that counts on from the one before, and the first
            can be decoded by itself; once all packets are taken.
    """

    def __init__(self, extradata: bytes) -> None:
        self.headers: list[bytes] = []
        self._scan = HeaderScan(extradata)
        self.plain = False
        self._sizes: list[int] = []

    def add(self, data: bytes, keyframe: bool) -> None:
        """Take the next packet; ``keyframe`` is the container's mark, which is not needed."""
        self._scan.add(data)
        self._sizes.append(len(data))

    def finish(self) -> Pictures:
        """What all packets hold."""
        rows, lists = self._scan.finish()
        kinds = rows[:, C_KIND]
        coded = np.flatnonzero(rows[:, C_ROW] >= 0)
        order = coded[np.lexsort((rows[coded, C_ORDER], rows[coded, C_EPOCH]))]
        ranks = np.full(len(rows), -1, np.int64)
        ranks[order] = np.arange(len(order))
        letters = LETTERS[kinds]
        starts = (rows[:, C_START] != 0) & (kinds == I)
        self.plain = bool(len(rows) and rows[:, C_PLAIN].all() and starts[0] and self._is_gapless(rows))
        return Pictures(
            types=letters,
            gives=np.where(kinds == NO_PICTURE, b"", letters).astype("S1"),
            starts=starts,
            reference=rows[:, C_REFERENCE] != 0,
            rounding=np.zeros(len(rows), np.uint8),
            sources=np.arange(len(rows)),
            offsets=np.zeros(len(rows), np.int64),
            sizes=np.array(self._sizes, np.int64),
            times=ranks,
            headers=self._number_headers(),
            lists=_distances(lists, rows[:, C_LISTS], ranks),
            list_ends=rows[:, C_LISTS].copy(),
        )

    @property
    def unread_tool(self) -> str:
        """A coding tool of the stream that the parser does not read, empty where it reads all."""
        tools = (unread_tool(*read_pair(*pair)) for pair in self._scan.parameters.pairs)
        return next(filter(None, tools), "")

    def _is_gapless(self, rows: npt.NDArray[np.int64]) -> bool:
        """Whether each picture counts on from the reference picture before it (7.4.3, frame_num)."""
        largest = 1 << self._scan.parameters.rows[rows[:, C_ROW], Q_FRAME_NUM_BITS]
        before = 0
        for number, idr, reference, size in zip(
            *rows[:, [C_FRAME_NUM, C_IDR, C_REFERENCE]].T.tolist(), largest.tolist(), strict=True
        ):
            if number != (0 if idr else (before + 1) % size):
                return False
            before = number if reference else before
        return True

    def _number_headers(self) -> npt.NDArray[np.int64]:
        """Number the states of the parameter sets that are in force in a packet."""
        contexts = np.concatenate([np.empty(0, np.int64), *self._scan.contexts])
        used, numbers = np.unique(contexts, return_inverse=True)
        sets = self._scan.parameters
        self.headers = [pack_units(self._scan.prefix, sets.units[context]) for context in used.tolist()]
        return numbers.astype(np.int64)


def _distances(
    lists: npt.NDArray[np.int64], ends: npt.NDArray[np.int64], ranks: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """The lists with the distance in display order in place of each packet, 0 where it is missing."""
    out: npt.NDArray[np.int64] = lists.copy()
    lengths = np.zeros(len(lists), bool)
    place = 0
    while place < len(lists):
        lengths[place : place + 2] = True
        place += 2 + int(lists[place]) + int(lists[place + 1])
    own = np.repeat(ranks, np.diff(ends, prepend=0))
    entries = ~lengths
    referred = lists[entries]
    missing = (referred == MISSING) | (ranks[referred] < 0)
    out[entries] = np.where(missing, 0, own[entries] - ranks[referred])
    return out
