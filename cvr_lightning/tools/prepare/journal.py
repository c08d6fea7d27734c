"""What a destination knows of itself: the recipe, a row for each finished video, in the end the manifest.

``.prepare/recipe.json`` is written first. Each run appends the row of every video that it finishes to a
journal of its own, such as ``.prepare/1-of-8.jsonl``. A line that a killed run left half written is passed
over, and its video is done again. ``manifest.jsonl`` is written by the run that finds a row for every video.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

from cvr_lightning.errors import PrepareError
from cvr_lightning.files.atomic import atomic_path, unfinished_files
from cvr_lightning.files.bounds import TEXT_BYTES, LimitError, parse_json, read_text
from cvr_lightning.tools.prepare.recipe import Recipe
from cvr_lightning.tools.prepare.row import Row, file_size
from cvr_lightning.tools.prepare.tree import Shard

MANIFEST = "manifest.jsonl"
FOLDER = ".prepare"
RECIPE = "recipe.json"


def check_recipe(destination: Path, recipe: Recipe) -> None:
    """Make sure that a folder is new, empty, or holds videos of the same recipe.

    Raises:
        PrepareError: It is not.
    """
    file = destination / FOLDER / RECIPE
    # Looked for before the recipe: of two runs that start together, one may have begun to write.
    foreign = destination.is_dir() and any(not path.name.startswith(".") for path in destination.iterdir())
    if not file.is_file():
        if foreign:
            raise PrepareError(
                f"{destination} holds files that were not prepared here: give a new or an empty folder"
            )
        return
    try:
        found = parse_json(read_text(file))
    except ValueError as error:
        raise PrepareError(f"{file} is damaged ({error}): delete {destination} to start anew") from error
    if found != recipe.to_dict():
        raise PrepareError(
            f"{destination} holds videos prepared as {found}, but {recipe.to_dict()} is asked for: "
            "give the options of the first run, or another folder"
        )


def claim(destination: Path, recipe: Recipe) -> None:
    """Record the recipe before the first video, so that a destination never mixes two.

    Raises:
        PrepareError: As of :func:`check_recipe`, or the folder cannot be written to.
    """
    check_recipe(destination, recipe)
    file = destination / FOLDER / RECIPE
    if not file.is_file():
        try:
            with atomic_path(file) as unfinished:
                unfinished.write_text(json.dumps(recipe.to_dict()) + "\n", encoding="utf-8")
        except OSError as error:
            raise PrepareError(
                f"{destination}: cannot be written to ({error.strerror}); give another folder"
            ) from error
        check_recipe(destination, recipe)


class Journal:
    """The rows that one run finishes, safe against being killed at any point.

    Args:
        destination: A folder that was claimed.
        shard: The run.

    Raises:
        PrepareError: Another process is at work on the same shard.
    """

    def __init__(self, destination: Path, shard: Shard) -> None:
        self._path = destination / FOLDER / f"{shard}.jsonl"
        self._file = open(self._path, "a+b")  # noqa: SIM115 - closed by __exit__
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # released however this process ends
        except BlockingIOError as error:
            self._file.close()
            raise PrepareError(
                f"{destination}: another process is preparing shard {shard}; wait for it, or stop it"
            ) from error
        except OSError:
            pass  # a file system without locks
        self._end_torn_line()

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._file.close()

    def append(self, row: Row) -> None:
        """Record a finished video."""
        self._file.write(_line(row))
        self._file.flush()

    def _end_torn_line(self) -> None:
        if self._file.tell():
            self._file.seek(-1, os.SEEK_END)
            if self._file.read() != b"\n":
                self._file.write(b"\n")


def read_rows(destination: Path) -> dict[str, Row]:
    """The last row of each video, by its source, from the journals of all runs."""
    rows = {}
    for path in sorted((destination / FOLDER).glob("*.jsonl")):
        for line in _lines(path):
            try:
                row = Row(**parse_json(line))
                row.check()
            except (ValueError, TypeError):
                continue  # torn by a kill
            if row.source not in rows or row.status != "failed":
                rows[row.source] = row
    return rows


def _lines(path: Path) -> list[bytes]:
    try:
        TEXT_BYTES.check(path.stat().st_size)
        return path.read_bytes().splitlines()
    except LimitError as error:
        raise PrepareError(f"{path}: {error}") from error


def is_done(row: Row | None, source: Path, destination: Path) -> bool:
    """Whether the row's file is in its place, made from the source as it is now."""
    return (
        row is not None
        and row.status != "failed"
        and row.source_bytes == file_size(source / row.source)
        and row.bytes == file_size(destination / row.target)
    )


def write_manifest(destination: Path, rows: Iterable[Row]) -> Path:
    """Write the rows in the order of their sources, whole or not at all."""
    path = destination / MANIFEST
    with atomic_path(path) as unfinished:
        unfinished.write_bytes(b"".join(_line(row) for row in sorted(rows, key=lambda row: row.source)))
    return path


def remove_unfinished(destination: Path, names: Sequence[str] | None) -> None:
    """Remove what killed runs left half written.

    Args:
        destination: The folder.
        names: Videos whose leftovers are removed, by their sources; all where None.
    """
    stems = None if names is None else {destination / Path(name).with_suffix("") for name in names}
    for unfinished, target in unfinished_files(destination):
        if stems is None or target.with_suffix("") in stems:
            unfinished.unlink(missing_ok=True)


def _line(row: Row) -> bytes:
    return json.dumps(asdict(row)).encode("ascii") + b"\n"
