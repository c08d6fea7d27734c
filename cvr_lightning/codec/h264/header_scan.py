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
from cvr_lightning.codec.h264.references import DecodedPictures, no_pictures
from cvr_lightning.codec.h264.slice_header import header_buffers

_GATHERED = 1 << 20
_ROOM = 1 << 16


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
        self._data: list[bytes] = []
        self._bytes = 0
        self._scan = Scan()
        self._rows: list[npt.NDArray[np.int64]] = []
        self._lists: list[npt.NDArray[np.int64]] = []
        self._listed = 0

    def add(self, data: bytes) -> None:
        """Take the next packet."""
        self._data.append(data)
        self._bytes += len(data)
        if self._bytes >= _GATHERED:
            self._flush()

    def finish(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """A row for each packet, and the reference lists of all slices.

        The lists of a slice are preceded by their two lengths; they name packets.
        """
        self._flush()
        rows = np.concatenate([np.empty((0, COLUMNS), np.int64), *self._rows])
        return rows, np.concatenate([np.empty(0, np.int64), *self._lists])

    def _flush(self) -> None:
        if not self._data:
            return
        data = np.frombuffer(b"".join(self._data), np.uint8)
        ends = np.cumsum([len(packet) for packet in self._data], dtype=np.int64)
        contexts = self._read_parameters(data, ends)
        rows = np.zeros((len(ends), COLUMNS), np.int64)
        lists = np.empty(_ROOM, np.int64)
        scan, sets = self._scan, self.parameters
        begin = 0
        while begin < len(ends):
            stop, used = call(
                scan_packets, data, ends, begin, self.prefix, contexts, (sets.rows, sets.places),
                scan.decoded, scan.buffers, scan.payload, scan.words, rows, lists,
            )  # fmt: skip
            rows[begin:stop, C_LISTS] += self._listed
            self._listed += used
            self._lists.append(lists[:used].copy())
            begin = stop
        self._rows.append(rows)
        self.contexts.append(contexts)
        self._data, self._bytes = [], 0

    def _read_parameters(
        self, data: npt.NDArray[np.uint8], ends: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.int64]:
        """Take note of parameter sets in band; which are in force in each packet."""
        contexts = np.empty(len(ends), np.int64)
        units = np.empty((256, 3), np.int64)
        packet, position = 0, 0
        current = 0
        while packet < len(ends):
            count, next_packet, position = _find_parameters(data, ends, packet, position, self.prefix, units)
            for number, begin, end in units[:count].tolist():
                contexts[current:number] = self.parameters.current
                current = number
                self.parameters.add(data[begin:end].tobytes())
            packet = next_packet
        contexts[current:] = self.parameters.current
        return contexts


@kernel
def _find_parameters(data, ends, packet, position, prefix, units):  # type: ignore[no-untyped-def]
    """List (packet, begin, end) of parameter sets until ``units`` is full: count, where to go on."""
    count = 0
    while packet < ends.size:
        begin, end, position = next_unit(data, position, ends[packet], prefix)
        if begin < 0:
            position = ends[packet]
            packet += 1
            continue
        kind = data[begin] & 31
        if kind in (SEQUENCE_PARAMETERS, PICTURE_PARAMETERS):
            units[count, 0], units[count, 1], units[count, 2] = packet, begin, end
            count += 1
            if count == len(units):
                break
        elif kind in (SLICE, IDR_SLICE):  # none follows
            position = ends[packet]
            packet += 1
    return count, packet, position
