"""Text for terminals: names of files and codecs with non-printable characters escaped, aligned columns."""

from __future__ import annotations

from collections.abc import Sequence


def printable(text: str) -> str:
    """Escape non-printable characters, such as the bytes of a name that is not UTF-8."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def align(rows: Sequence[Sequence[str]]) -> str:
    """Rows of cells as lines of text with straight columns."""
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    lines = ("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(f"  {line.rstrip()}" for line in lines)
