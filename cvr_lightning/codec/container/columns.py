"""Columns of a packet index as bytes, without what follows from other rows or columns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from cvr_lightning.files.bounds import INDEX_BYTES

_STEPS = frozenset({"dts", "positions", "frame_packets", "frame_times", "frame_list_ends"})
"""Columns stored as differences between rows, which compress better."""
_BESIDE = {"data_positions": "positions", "frame_ends": "frame_packets", "frame_sources": "frame_packets"}
"""Columns stored as differences to an earlier column, which are often equal."""
_BYTES = {
    **dict.fromkeys(("types", "frame_kinds"), "S1"),
    **dict.fromkeys(("starts", "reference", "damaged"), "?"),
    **dict.fromkeys(("rounding", "headers"), "u1"),
}
"""Columns of one byte per row; the others are int64."""
_INTEGERS = (np.uint8, np.int8, np.uint16, np.int16, np.uint32, np.int32, np.int64)
_PACKED = tuple(np.dtype(kind).str for kind in _INTEGERS)


class Stored(NamedTuple):
    """A packed column.

    Attributes:
        dtype: Type of the stored values.
        rows: Rows of the column.
        stored: Stored values; the last one is that of the remaining rows, too.
    """

    dtype: str
    rows: int
    stored: int


def pack(columns: Mapping[str, npt.NDArray[Any]]) -> tuple[list[Stored], bytes]:
    """Pack columns: a description of each, and their bytes."""
    packed = [_pack(name, columns) for name in columns]
    described = [
        Stored(values.dtype.str, len(column), len(values))
        for values, column in zip(packed, columns.values(), strict=True)
    ]
    return described, b"".join(values.tobytes() for values in packed)


def unpack(
    names: Iterable[str], described: Iterable[Iterable[Any]], data: bytes
) -> dict[str, npt.NDArray[Any]]:
    """The inverse of :func:`pack`.

    Raises:
        ValueError: The data do not have the described form, or have more rows than
            :data:`cvr_lightning.files.bounds.INDEX_BYTES`.
    """
    columns, place = dict[str, npt.NDArray[Any]](), 0
    entries = {name: Stored(*entry) for name, entry in zip(names, described, strict=True)}
    for name, (dtype, rows, stored) in entries.items():
        kinds = _PACKED[:1] if name in _BYTES else _PACKED
        counts = type(rows) is int and type(stored) is int and min(rows, 1) <= stored <= rows
        if dtype not in kinds or not counts:
            raise ValueError(f"{name}: {stored} times {dtype} for {rows} rows")
    INDEX_BYTES.check(sum(entry.rows for entry in entries.values()))
    for name, (dtype, rows, stored) in entries.items():
        packed = np.frombuffer(data, dtype, stored, place)
        columns[name] = _unpack(name, packed, rows, columns)
        place += packed.nbytes
    if place != len(data):
        raise ValueError(f"{len(data) - place} bytes too many")
    return columns


def _pack(name: str, columns: Mapping[str, npt.NDArray[Any]]) -> npt.NDArray[Any]:
    """Pack a column in the narrowest sufficient integer type, without repetitions of its last value."""
    values = columns[name].view(np.uint8) if name in _BYTES else columns[name]
    if name in _STEPS:
        values = np.diff(values, prepend=0)
    elif name in _BESIDE:
        values = values - columns[_BESIDE[name]]
    changes = np.flatnonzero(values[1:] != values[:-1])
    values = values[: changes[-1] + 2 if len(changes) else 1]
    low, high = (int(values.min()), int(values.max())) if len(values) else (0, 0)
    fits = (kind for kind in _INTEGERS if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max)
    return values.astype(next(fits))


def _unpack(
    name: str, packed: npt.NDArray[Any], rows: int, columns: Mapping[str, npt.NDArray[Any]]
) -> npt.NDArray[Any]:
    """The inverse of :func:`_pack`, with the columns before this one."""
    values = np.empty(rows, np.uint8 if name in _BYTES else np.int64)
    values[: len(packed)] = packed
    if len(packed) < rows:
        values[len(packed) :] = packed[-1]
    if name in _BYTES:
        if _BYTES[name] == "?" and packed.max(initial=0) > 1:
            raise ValueError(f"{name}: neither true nor false")
        return values.view(_BYTES[name])
    if name in _STEPS:
        np.cumsum(values, out=values)
    elif name in _BESIDE:
        base = columns[_BESIDE[name]]
        if len(base) != rows:
            raise ValueError(f"{name}: {rows} rows instead of {len(base)}")
        values += base
    return values
