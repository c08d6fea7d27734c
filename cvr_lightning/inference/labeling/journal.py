"""Finished blocks of a run, so that a killed run is resumed.

Beside the output ``labels.parquet`` lies ``labels.parquet.partial``: a first line with the settings of the
run, then a line for each finished block: a checksum, a space and JSON. The output appears when all blocks are
done.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cvr_lightning.errors import RunError
from cvr_lightning.files.atomic import output_error
from cvr_lightning.files.bounds import TEXT_BYTES, parse_json
from cvr_lightning.files.regular import open_to_append
from cvr_lightning.inference.labeling.blocks import Block
from cvr_lightning.inference.labeling.table import Columns, Row

log = logging.getLogger(__name__)


class Journal:
    """Appends blocks to a file; a kill at any point loses at most the block that was being written.

    Args:
        path: The file; continued if it exists.
        settings: What the rows depend on.
        columns: What a row holds.

    Raises:
        RunError: The file is of a run with other settings.
        OutputError: The file cannot be written.
    """

    def __init__(self, path: Path, settings: dict[str, Any], columns: Columns) -> None:
        self.path = path
        self._columns = columns
        self._places: dict[int, tuple[int, bytes]] = {}  # offset and digest of each block
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = open_to_append(path)
        except OSError as error:
            raise output_error(path, error) from error
        self._read(settings)

    def _read(self, settings: dict[str, Any]) -> None:
        head = json.dumps(settings, sort_keys=True).encode() + b"\n"
        self._file.seek(0)
        first = self._file.readline(max(len(head), TEXT_BYTES.value))
        if first != head and first.endswith(b"\n"):
            self._file.close()
            raise RunError(
                f"{self.path}: begun with another checkpoint or other options; give those again, or delete "
                "the file to start again"
            )
        if first != head:
            self._file.truncate(0)
            self._append(head)
            return
        end = len(head)
        while line := self._file.readline(TEXT_BYTES.value):
            block = self._parsed(line)
            if block is None:
                if line.endswith(b"\n"):  # otherwise torn by a kill
                    log.warning(
                        "%s: damaged after %d batches; later ones are read again", self.path, len(self)
                    )
                break
            self._places[block["block"]] = end, bytes.fromhex(block["names"])
            end += len(line)
        self._file.truncate(end)

    def _parsed(self, line: bytes) -> dict[str, Any] | None:
        """The block of a line; None if the line is torn or damaged."""
        checksum, _, text = line.partition(b" ")
        if not line.endswith(b"\n") or checksum != _checksum(text[:-1]):
            return None
        try:
            block: dict[str, Any] = parse_json(text)
            number, _, rows = block["block"], bytes.fromhex(block["names"]), block["rows"]
        except (ValueError, TypeError, KeyError):
            return None
        sound = type(number) is int and type(rows) is list and all(map(self._columns.fit, rows))
        return block if sound else None

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *exc_info: object) -> None:
        try:
            self._file.close()  # tries once more to write what did not fit
        except OSError as error:
            raise output_error(self.path, error) from error

    def __len__(self) -> int:
        """Number of finished blocks."""
        return len(self._places)

    def check(self, blocks: int) -> None:
        """Check that a run of so many blocks includes all finished ones.

        Raises:
            RunError: It does not.
        """
        if not all(0 <= number < blocks for number in self._places):
            raise RunError(
                f"{self.path}: the sources name fewer videos than when it was begun; restore them, or delete "
                "the file to start again"
            )

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
        text = json.dumps(values).encode()
        self._append(_checksum(text) + b" " + text + b"\n")

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
            yield from json.loads(self._file.readline().partition(b" ")[2])["rows"]


def _digest(block: Block) -> bytes:
    names = "\0".join(entry.name for entry in block.entries)
    return hashlib.blake2b(names.encode(errors="surrogateescape"), digest_size=8).digest()


def _checksum(text: bytes) -> bytes:
    return hashlib.blake2b(text, digest_size=8).hexdigest().encode()
