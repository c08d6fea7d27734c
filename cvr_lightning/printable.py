"""Names of files and marks of codecs, as any terminal, page or font can show them."""

from __future__ import annotations


def printable(text: str) -> str:
    """The text, with an escape for each character that is none, as a byte of a name that is not UTF-8."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)
