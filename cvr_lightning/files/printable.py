"""Untrusted text made safe to display and to store; aligned columns."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

_ADDRESS = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*://)(?:[^\s/@'\"]*@)?(?P<place>[^\s?'\"]*)(?:\?[^\s'\"]*)?"
)


def printable(text: str) -> str:
    """Escape non-printable characters, such as the bytes of a name that is not UTF-8."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def shown(text: str) -> str:
    """A message for a terminal or a log: control codes escaped, secrets removed from URLs.

    All lines but the first are indented, so that a line break in a name cannot fake another message.
    """
    first, *others = (printable(without_secrets(line)) for line in text.split("\n"))
    return "\n".join([first, *(line if not line or line[0] == " " else f"  {line}" for line in others)])


def csv_text(text: str, mark: str = "'") -> str:
    """Text as a CSV cell that no spreadsheet takes for a formula.

    Args:
        text: The text.
        mark: Precedes text that looks like a formula; ``./`` leaves a relative path valid.
    """
    return mark + text if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def align(rows: Sequence[Sequence[str]]) -> str:
    """Format rows of :func:`printable` cells as aligned columns."""
    rows = [[printable(cell) for cell in row] for row in rows]
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    lines = ("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(f"  {line.rstrip()}" for line in lines)


def counted(count: int, noun: str, plural: str = "") -> str:
    """A number of things, as in ``1 video`` and ``3 classes``.

    Args:
        count: The number.
        noun: The word for one.
        plural: The word for several; by default with an ``s``.
    """
    return f"{count} {noun if count == 1 else plural or f'{noun}s'}"


def count_text(count: int) -> str:
    """A number of parameters: in millions, or exactly if that would be zero."""
    return f"{count / 1e6:.2f} M" if count >= 5000 else f"{count:,}"


def without_secrets(text: str) -> str:
    """Remove users, passwords and queries from the URLs in a text, since these may be credentials."""
    return _ADDRESS.sub(r"\g<scheme>\g<place>", text)


def all_without_secrets(value: Any) -> Any:
    """Apply :func:`without_secrets` to every string in plain values."""
    if isinstance(value, dict):
        return {name: all_without_secrets(item) for name, item in value.items()}
    if isinstance(value, list):
        return [all_without_secrets(item) for item in value]
    return without_secrets(value) if isinstance(value, str) else value
