"""A one-line summary of files that a listing leaves out."""

from __future__ import annotations

_SHOWN = 5
"""Most folders named in the line."""


class LeftOut:
    """Counts files that are left out by folder and reason, with an example each."""

    def __init__(self) -> None:
        self._found: dict[str, dict[str, tuple[int, str]]] = {}

    def add(self, folder: str, reason: str, example: str, count: int = 1) -> None:
        """Count files.

        Args:
            folder: Their folder relative to the root; empty for the root.
            reason: Why they are left out, in words that fit one and several, such as ``hidden``.
            example: Name of one of them.
            count: Their number.
        """
        reasons = self._found.setdefault(folder, {})
        number, first = reasons.get(reason, (0, example))
        reasons[reason] = (number + count, min(first, example))

    def __bool__(self) -> bool:
        return bool(self._found)

    def __str__(self) -> str:
        """For example ``left out of walk: 2 in sub-folders (old/a.avi); of run: 1 hidden (._b.avi)``."""
        folders = sorted(self._found)
        parts = [f"of {folder or 'the root'}: {_reasons(self._found[folder])}" for folder in folders[:_SHOWN]]
        more = folders[_SHOWN:]
        if more:
            count = sum(number for folder in more for number, _ in self._found[folder].values())
            parts.append(f"{count} of {len(more)} other folders")
        return f"left out {'; '.join(parts)}"


def _reasons(reasons: dict[str, tuple[int, str]]) -> str:
    return ", ".join(f"{count} {reason} ({example})" for reason, (count, example) in reasons.items())
