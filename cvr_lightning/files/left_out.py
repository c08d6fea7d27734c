"""What a listing of folders leaves out, told in one line."""

from __future__ import annotations

_SHOWN = 5
"""Folders that the line names."""


class LeftOut:
    """Counts files that are left out, by folder and reason, with an example of each."""

    def __init__(self) -> None:
        self._found: dict[str, dict[str, tuple[int, str]]] = {}

    def add(self, folder: str, reason: str, example: str, count: int = 1) -> None:
        """Note files.

        Args:
            folder: Where they lie, relative to the root; the root itself if empty.
            reason: Why they are left out, in the plural.
            example: One of them.
            count: How many.
        """
        reasons = self._found.setdefault(folder, {})
        number, first = reasons.get(reason, (0, example))
        reasons[reason] = (number + count, min(first, example))

    def __bool__(self) -> bool:
        return bool(self._found)

    def __str__(self) -> str:
        """Such as ``left out of walk: 2 in sub-folders (old/a.avi); of run: 1 hidden (._b.avi)``."""
        folders = sorted(self._found)
        told = [f"of {folder or 'the root'}: {_reasons(self._found[folder])}" for folder in folders[:_SHOWN]]
        more = folders[_SHOWN:]
        if more:
            count = sum(number for folder in more for number, _ in self._found[folder].values())
            told.append(f"{count} of {len(more)} other folders")
        return f"left out {'; '.join(told)}"


def _reasons(reasons: dict[str, tuple[int, str]]) -> str:
    return ", ".join(f"{count} {reason} ({example})" for reason, (count, example) in reasons.items())
