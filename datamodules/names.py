"""Strings stored in two arrays, without an object per string."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import overload

import numpy as np

_UTF8 = ("utf-8", "surrogateescape")  # preserves names that are not UTF-8, as os.fsdecode does


class Names(Sequence[str]):
    """A sequence of file names in one UTF-8 text, as the file system takes them.

    Forked workers share the text without touching reference counts; its pickle is the text and an array of
    ends.

    Args:
        names: The strings.
    """

    def __init__(self, names: Iterable[str]) -> None:
        encoded = [name.encode(*_UTF8) for name in names]
        self._text = b"".join(encoded)
        self._ends = np.cumsum([0, *map(len, encoded)], dtype=np.int64)

    def __len__(self) -> int:
        return len(self._ends) - 1

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[str, ...]: ...
    def __getitem__(self, index: int | slice) -> str | tuple[str, ...]:
        if isinstance(index, slice):
            return tuple(self[i] for i in range(*index.indices(len(self))))
        if not -len(self) <= index < len(self):
            raise IndexError(f"name {index} of {len(self)}")
        index %= len(self)
        return os.fsdecode(self._text[self._ends[index] : self._ends[index + 1]])

    def __iter__(self) -> Iterator[str]:
        ends = self._ends.tolist()
        return (os.fsdecode(self._text[start:end]) for start, end in pairwise(ends))

    def __eq__(self, other: object) -> bool:
        """Equal to any sequence with the same strings."""
        return isinstance(other, Sequence) and tuple(self) == tuple(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Names({list(self[:3])}{', ...' if len(self) > 3 else ''}, {len(self)})"
