"""Headers of H.264 packets, for the packet index."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from cvr_lightning.codec.bitstream.compiling import call
from cvr_lightning.codec.bitstream.kernels import kernel
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

_GIVES = np.where(np.arange(len(LETTERS)) == NO_PICTURE, b"", LETTERS)


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
        self._sizes = [np.empty(0, np.int64)]

    def scan(
        self, data: npt.NDArray[np.uint8], begins: npt.NDArray[np.int64], ends: npt.NDArray[np.int64]
    ) -> None:
        """Read the next packets."""
        self._scan.scan(data, begins, ends)
        self._sizes.append(ends - begins)

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
            gives=_GIVES[kinds],
            starts=starts,
            reference=rows[:, C_REFERENCE] != 0,
            rounding=np.zeros(len(rows), np.uint8),
            sources=np.arange(len(rows)),
            offsets=np.zeros(len(rows), np.int64),
            sizes=np.concatenate(self._sizes),
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
        numbers, idr, reference = rows[:, C_FRAME_NUM], rows[:, C_IDR] != 0, rows[:, C_REFERENCE] != 0
        largest = 1 << self._scan.parameters.rows[rows[:, C_ROW], Q_FRAME_NUM_BITS]
        last = np.maximum.accumulate(np.where(reference, np.arange(len(rows)), -1))
        before = np.where(last[:-1] >= 0, numbers[last[:-1]], 0)
        expected = (np.concatenate([[0], before]) + 1) % largest
        return bool((numbers == np.where(idr, 0, expected)).all())

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
    out = np.empty_like(lists)
    call(_fill_distances, lists, ends, ranks, out)
    return out


@kernel
def _fill_distances(lists, ends, ranks, out):  # type: ignore[no-untyped-def]
    place = 0
    for packet in range(len(ends)):
        while place < ends[packet]:
            count = lists[place] + lists[place + 1]
            out[place], out[place + 1] = lists[place], lists[place + 1]
            for i in range(place + 2, place + 2 + count):
                exists = lists[i] != MISSING and ranks[lists[i]] >= 0
                out[i] = ranks[packet] - ranks[lists[i]] if exists else 0
            place += 2 + count
            if lists[place - 1 - count]:  # the orders of a B slice
                for i in range(place, place + count):
                    out[i] = lists[i]
                place += count
