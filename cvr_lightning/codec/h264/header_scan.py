"""The headers of all packets of a stream, gathered and read together by a kernel.

Python alone sees parameter sets, of which a stream has few.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from cvr_lightning.codec.bitstream.compiling import call
from cvr_lightning.codec.bitstream.kernels import kernel, word_buffer
from cvr_lightning.codec.h264.nal import (
    IDR_SLICE,
    PICTURE_PARAMETERS,
    SEQUENCE_PARAMETERS,
    SLICE,
    extradata_units,
    length_size,
    next_unit,
)
from cvr_lightning.codec.h264.parameters import ParameterSets
from cvr_lightning.codec.h264.pictures import C_LISTS, COLUMNS, LONGEST_HEADER, scan_packets
from cvr_lightning.codec.h264.references import MARK, PICTURE, DecodedPictures, no_pictures
from cvr_lightning.codec.h264.slice_header import header_buffers

_ROOM = 1 << 16
_MOST_STATES = 32  # of the parameter sets of an endless stream


@dataclass
class Scan:
    """What the kernel reads into.

    Attributes:
        decoded: Of the headers so far.
        buffers: Of a slice header.
        payload: Bytes of a slice header.
        words: Its words.
    """

    decoded: DecodedPictures = field(default_factory=no_pictures)
    buffers: tuple[npt.NDArray[np.int64], ...] = field(default_factory=header_buffers)
    payload: npt.NDArray[np.uint8] = field(default_factory=lambda: np.empty(LONGEST_HEADER, np.uint8))
    words: npt.NDArray[np.int64] = field(default_factory=lambda: word_buffer(LONGEST_HEADER))


class HeaderScan:
    """Reads the headers of H.264 packets, each of which holds one picture.

    Args:
        extradata: What the container knows beforehand.

    Attributes:
        parameters: The parameter sets of the stream.
        contexts: Number of the parameter sets in force, for each packet.
    """

    def __init__(self, extradata: bytes) -> None:
        self.prefix = length_size(extradata)
        self.parameters = ParameterSets()
        for unit in extradata_units(extradata):
            self.parameters.add(unit)
        self.contexts: list[npt.NDArray[np.int64]] = []
        self._scan = Scan()
        self._room = np.empty(_ROOM, np.int64)
        self._rows: list[npt.NDArray[np.int64]] = []
        self._lists: list[npt.NDArray[np.int64]] = []
        self._listed = 0

    def scan(
        self, data: npt.NDArray[np.uint8], begins: npt.NDArray[np.int64], ends: npt.NDArray[np.int64]
    ) -> None:
        """Read the next packets, each of which is ``data[begin:end]``."""
        rows, lists, contexts = self._read(data, begins, ends)
        rows[:, C_LISTS] += self._listed
        self._listed += len(lists)
        self._rows.append(rows)
        self._lists.append(lists)
        self.contexts.append(contexts)

    def finish(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """A row for each packet, and the reference lists of all slices.

        The lists of a slice are preceded by their two lengths; they name packets.
        """
        rows = np.concatenate([np.empty((0, COLUMNS), np.int64), *self._rows])
        return rows, np.concatenate([np.empty(0, np.int64), *self._lists])

    def read(self, data: bytes) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Read one packet of an endless stream: its row, and the reference lists of its slices."""
        if self.parameters.current > _MOST_STATES:
            self.parameters = self.parameters.newest()
        rows, lists, _ = self._read(np.frombuffer(data, np.uint8), np.array([0]), np.array([len(data)]))
        return rows[0], lists

    def _read(
        self, data: npt.NDArray[np.uint8], begins: npt.NDArray[np.int64], ends: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.int64], ...]:
        """Rows of the next packets, the lists of their slices, the parameter sets in force."""
        contexts = self._read_parameters(data, begins, ends)
        rows = np.zeros((len(ends), COLUMNS), np.int64)
        scan, sets, lists = self._scan, self.parameters, list[npt.NDArray[np.int64]]()
        first = listed = 0
        while first < len(ends):
            stop, used = call(
                scan_packets, data, begins, ends, first, self.prefix, contexts, (sets.rows, sets.places),
                scan.decoded, scan.buffers, scan.payload, scan.words, rows, self._room,
            )  # fmt: skip
            rows[first:stop, C_LISTS] += listed
            listed += used
            lists.append(self._room[:used].copy())
            first = stop
        return rows, np.concatenate(lists), contexts

    @property
    def referable(self) -> set[int]:
        """Numbers of the pictures that later ones may refer to, counted in packets."""
        pictures = self._scan.decoded.pictures
        return set(pictures[pictures[:, MARK] != 0, PICTURE].tolist())

    def _read_parameters(
        self, data: npt.NDArray[np.uint8], begins: npt.NDArray[np.int64], ends: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.int64]:
        """Take note of parameter sets in band; which are in force in each packet."""
        contexts = np.empty(len(ends), np.int64)
        units = np.empty((256, 3), np.int64)
        packet, position = 0, -1
        current = 0
        while packet < len(ends):
            count, next_packet, position = _find_parameters(
                data, begins, ends, packet, position, self.prefix, units
            )
            for number, begin, end in units[:count].tolist():
                contexts[current:number] = self.parameters.current
                current = number
                self.parameters.add(data[begin:end].tobytes())
            packet = next_packet
        contexts[current:] = self.parameters.current
        return contexts


@kernel
def _find_parameters(data, begins, ends, packet, position, prefix, units):  # type: ignore[no-untyped-def]
    """List (packet, begin, end) of parameter sets until ``units`` is full: count, where to go on.

    A position of -1 stands for the begin of the packet.
    """
    count = 0
    while packet < ends.size:
        if position < 0:
            position = begins[packet]
        begin, end, position = next_unit(data, position, ends[packet], prefix)
        if begin < 0:
            position = -1
            packet += 1
            continue
        kind = data[begin] & 31
        if kind in (SEQUENCE_PARAMETERS, PICTURE_PARAMETERS):
            units[count, 0], units[count, 1], units[count, 2] = packet, begin, end
            count += 1
            if count == len(units):
                break
        elif kind in (SLICE, IDR_SLICE):  # none follows
            position = -1
            packet += 1
    return count, packet, position
