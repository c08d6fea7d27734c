"""The parameter sets of a stream, as they come and change, in the form of the kernels."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from cvr_lightning.codec.h264.nal import PICTURE_PARAMETERS, SEQUENCE_PARAMETERS
from cvr_lightning.codec.h264.parameter_sets import (
    BadParameterSetError,
    PictureParameters,
    SequenceParameters,
    read_picture,
    read_sequence,
    sequence_of_picture,
)
from cvr_lightning.codec.h264.scaling_lists import scaling_in_force
from cvr_lightning.codec.h264.slice_header import PARAMETERS, parameter_row
from cvr_lightning.codec.h264.tables import level_scales

_PICTURE_SETS = 256
_MOST_CHANGES = 1024
_MOST_PAIRS = 1024
"""A small file could otherwise change one sequence set under 256 picture sets again and again."""


class ParameterSets:
    """Parameter sets so far.

    Attributes:
        pairs: Distinct (sequence, picture) parameter sets as NAL units, in the order in which they came.
        units: The NAL units in force, for each state of the sets.
        current: Number of the sets in force.
    """

    def __init__(self) -> None:
        self.pairs: list[tuple[bytes, bytes]] = []
        self.units: list[tuple[bytes, ...]] = [()]
        self._sequences: dict[int, bytes] = {}
        self._pictures: dict[int, tuple[int, bytes]] = {}
        self._numbers: dict[tuple[bytes, bytes], int] = {}
        self._rows = np.zeros((0, PARAMETERS), np.int64)
        self._places = [np.full(_PICTURE_SETS, -1, np.int64)]

    @property
    def current(self) -> int:
        """Number of the parameter sets in force."""
        return len(self._places) - 1

    @property
    def rows(self) -> npt.NDArray[np.int64]:
        """(R, PARAMETERS) a row for each pair."""
        if len(self._rows) < len(self.pairs):
            self._rows = np.stack([_row(*pair) for pair in self.pairs])
        return self._rows

    @property
    def places(self) -> npt.NDArray[np.int64]:
        """(E, 256) for each state of the sets: row of each picture parameter set, -1 where there is none."""
        return np.stack(self._places)

    def add(self, unit: bytes) -> None:
        """Take the next parameter set; a damaged one leaves what was there."""
        full = len(self._places) >= _MOST_CHANGES or len(self.pairs) >= _MOST_PAIRS
        kind = unit[0] & 31 if unit and not full else 0
        try:
            if kind == SEQUENCE_PARAMETERS:
                number = read_sequence(unit[1:]).number
                if self._sequences.get(number) == unit:
                    return
                self._sequences[number] = unit
            elif kind == PICTURE_PARAMETERS:
                number, sequence = sequence_of_picture(unit[1:])
                if self._pictures.get(number) == (sequence, unit):
                    return
                self._pictures[number] = (sequence, unit)
            else:
                return
        except BadParameterSetError:
            return
        self._places.append(self._pair())
        self.units.append((*self._sequences.values(), *(unit for _, unit in self._pictures.values())))

    def newest(self) -> ParameterSets:
        """The sets in force alone, without earlier states."""
        sets = ParameterSets()
        for unit in self.units[-1]:
            sets.add(unit)
        return sets

    def _pair(self) -> npt.NDArray[np.int64]:
        places = np.full(_PICTURE_SETS, -1, np.int64)
        for number, (sequence, unit) in self._pictures.items():
            if sequence not in self._sequences:
                continue
            pair = self._sequences[sequence], unit
            if pair not in self._numbers:
                try:
                    read_pair(*pair)
                except BadParameterSetError:
                    continue
                self._numbers[pair] = len(self.pairs)
                self.pairs.append(pair)
            places[number] = self._numbers[pair]
        return places


def read_pair(sequence: bytes, picture: bytes) -> tuple[SequenceParameters, PictureParameters]:
    """Read two NAL units.

    Raises:
        BadParameterSetError: One is cut short or holds forbidden values.
    """
    parsed = read_sequence(sequence[1:])
    return parsed, read_picture(picture[1:], parsed.chroma_format)


@lru_cache(maxsize=16)
def _row(sequence: bytes, picture: bytes) -> npt.NDArray[np.int64]:
    pair = read_pair(sequence, picture)
    row = parameter_row(*pair)
    row[0] = pair[0].progressive and not pair[0].planes and pair[1].slice_groups == 1  # headers can be read
    return row


@lru_cache(maxsize=16)
def scales_of(sequence: bytes, picture: bytes) -> npt.NDArray[np.int64]:
    """(8, 6, 64) LevelScale of a pair of parameter sets, see :func:`level_scales`."""
    sets = read_pair(sequence, picture)
    return level_scales(scaling_in_force(sets[0].scaling, sets[1].scaling))


def pack_units(prefix: int, units: Sequence[bytes]) -> bytes:
    """Parameter sets as one string, for the index.

    Args:
        prefix: Bytes of the length prefix of the stream's NAL units, 0 in Annex B form.
        units: The NAL units.
    """
    return bytes([prefix]) + b"".join(len(unit).to_bytes(4, "big") + unit for unit in units)


def parameter_units(header: bytes) -> tuple[int, list[bytes]]:
    """The inverse of :func:`pack_units`."""
    units, place = [], 1
    while place + 4 <= len(header):
        size = int.from_bytes(header[place : place + 4], "big")
        units.append(header[place + 4 : place + 4 + size])
        place += 4 + size
    return header[0] if header else 0, units


@lru_cache(maxsize=64)
def read_sets(header: bytes) -> ParameterSets:
    """The parameter sets of :func:`pack_units`; they are shared and not to be changed."""
    sets = ParameterSets()
    for unit in parameter_units(header)[1]:
        sets.add(unit)
    return sets
