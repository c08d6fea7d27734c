"""Finished blocks of a run, so that a killed run is resumed.

Beside the output ``labels.parquet`` lies ``labels.parquet.partial``: a first line with the settings of the
run, then a line for each finished block. The output appears when all blocks are done.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cvr_lightning.errors import RunError
from cvr_lightning.files.atomic import output_error
from cvr_lightning.files.bounds import parse_json
from cvr_lightning.inference.labeling.blocks import Block

Row = dict[str, Any]


class Journal:
    """Appends blocks to a file; a kill at any point loses at most the block that was being written.

    Args:
        path: The file; continued if it exists.
        settings: What the rows depend on.

    Raises:
        RunError: The file is of a run with other settings.
        OutputError: The file cannot be written.
    """

    def __init__(self, path: Path, settings: dict[str, Any]) -> None:
        self.path = path
        self._places: dict[int, tuple[int, bytes]] = {}  # offset and digest of each block
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("a+b")
        except OSError as error:
            raise output_error(path, error) from error
        self._read(settings)

    def _read(self, settings: dict[str, Any]) -> None:
        head = json.dumps(settings, sort_keys=True).encode() + b"\n"
        self._file.seek(0)
        first = self._file.readline()
        if first != head and first.endswith(b"\n"):
            raise RunError(
                f"{self.path}: begun with another checkpoint or other options; give those again, or delete "
                "the file to start again"
            )
        if first != head:
            self._file.truncate(0)
            self._append(head)
            return
        end = len(head)
        for line in self._file:
            block = _parsed(line)
            if block is None:
                break  # torn by a kill
            self._places[block["block"]] = end, bytes.fromhex(block["names"])
            end += len(line)
        self._file.truncate(end)

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._file.close()

    def __len__(self) -> int:
        """Number of finished blocks."""
        return len(self._places)

    def has(self, block: Block) -> bool:
        """Whether a block is finished.

        Raises:
            RunError: It was of other videos.
        """
        if block.number not in self._places:
            return False
        if self._places[block.number][1] != _digest(block):
            raise RunError(
                f"{self.path}: the sources name other videos than when it was begun, "
                f"from {block.entries[0].name} on; restore them, or delete the file to start again"
            )
        return True

    def append(self, block: Block, rows: list[Row]) -> None:
        """Record the rows of a finished block.

        Raises:
            OutputError: The disk is full.
        """
        self._places[block.number] = self._file.seek(0, os.SEEK_END), _digest(block)
        values = {"block": block.number, "names": _digest(block).hex(), "rows": rows}
        self._append(json.dumps(values).encode() + b"\n")

    def _append(self, line: bytes) -> None:
        try:
            self._file.write(line)
            self._file.flush()
        except OSError as error:
            raise output_error(self.path, error) from error

    def rows(self) -> Iterator[Row]:
        """All rows, in the order of the sources."""
        for number in sorted(self._places):
            self._file.seek(self._places[number][0])
            yield from json.loads(self._file.readline())["rows"]


def _digest(block: Block) -> bytes:
    names = "\0".join(entry.name for entry in block.entries)
    return hashlib.blake2b(names.encode(errors="surrogateescape"), digest_size=8).digest()


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        values = parse_json(line) if line.endswith(b"\n") else None
    except ValueError:
        return None
    if not isinstance(values, dict) or type(values.get("block")) is not int:
        return None
    return values if type(values.get("names")) is str and type(values.get("rows")) is list else None
