"""State of a destination folder: the recipe, a row for each finished video, and finally the manifest.

``.prepare/recipe.json`` is written first. Each run appends a row for each finished video to its own journal,
such as ``.prepare/1-of-8.jsonl``. Incomplete lines of killed runs are ignored, and their videos are prepared
again. The run that finds a row for every video writes ``manifest.jsonl``.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

from cvr_lightning.codec.prepared.recipe import Recipe
from cvr_lightning.errors import PrepareError
from cvr_lightning.files.atomic import unfinished_files, write_output
from cvr_lightning.files.bounds import TEXT_BYTES, LimitError, parse_json, read_text
from cvr_lightning.files.lock import hold
from cvr_lightning.files.regular import open_to_append, open_to_read
from cvr_lightning.tools.prepare.row import Row, file_size
from cvr_lightning.tools.prepare.tree import ArrayJob

log = logging.getLogger(__name__)

MANIFEST = "manifest.jsonl"
FOLDER = ".prepare"
RECIPE = "recipe.json"


def check_recipe(destination: Path, recipe: Recipe) -> None:
    """Check that a folder is new, empty, or holds videos of the same recipe.

    Raises:
        PrepareError: It holds other files, or videos of another recipe.
    """
    # Checked before the recipe: a run that started at the same time may have begun to write.
    foreign = destination.is_dir() and any(not path.name.startswith(".") for path in destination.iterdir())
    if foreign and not (destination / FOLDER / RECIPE).is_file():
        raise PrepareError(
            f"{destination} holds files that were not prepared here: give a new or an empty folder"
        )
    found = _recorded(destination)
    if found is not None and found != recipe.to_dict():
        raise PrepareError(
            f"{destination} holds videos prepared as {found}, but {recipe.to_dict()} is asked for: "
            "give the options of the first run, or another folder"
        )


def _recorded(destination: Path) -> Any:
    """The recorded recipe of a folder; None if there is none or it is damaged."""
    try:
        return parse_json(read_text(destination / FOLDER / RECIPE))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None


def claim(destination: Path, recipe: Recipe) -> None:
    """Record the recipe before the first video, so that a destination never mixes two recipes.

    Videos whose recipe is lost are prepared again.

    Raises:
        PrepareError: See :func:`check_recipe`.
        InUseError: Another process is claiming the folder.
        OutputError: The folder cannot be written to.
    """
    check_recipe(destination, recipe)
    folder = destination / FOLDER
    if _recorded(destination) is None:
        with hold(folder, "claim.lock"):
            if _recorded(destination) is None:
                if (folder / RECIPE).exists():
                    log.warning("%s is damaged: all videos are prepared again", folder / RECIPE)
                for path in folder.glob("*.jsonl"):
                    path.unlink()
                write_output(folder / RECIPE, json.dumps(recipe.to_dict()).encode() + b"\n")
        check_recipe(destination, recipe)


class Journal:
    """Rows of the videos that one run has finished; a kill at any point loses at most the last one.

    Args:
        destination: A claimed folder.
        job: The run.

    Raises:
        InUseError: Another process runs the same job, or the whole folder while this is one of several jobs.
    """

    def __init__(self, destination: Path, job: ArrayJob) -> None:
        folder = destination / FOLDER
        with ExitStack() as held:
            held.enter_context(hold(folder, "lock", shared=job.count > 1))
            held.enter_context(hold(folder, f"{job}.lock"))
            self._file = held.enter_context(open_to_append(folder / f"{job}.jsonl"))
            self._held = held.pop_all()
        self._end_torn_line()

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._held.close()

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
    """The last row of each video, by source name, from the journals of all jobs."""
    if _recorded(destination) is None:
        return {}
    rows: dict[str, Row] = {}
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
        with open_to_read(path) as file:
            TEXT_BYTES.check(os.fstat(file.fileno()).st_size)
            return file.read().splitlines()
    except LimitError as error:
        raise PrepareError(f"{path}: {error}") from error


def is_done(row: Row | None, source: Path, destination: Path) -> bool:
    """Whether the row's file exists and the source has not changed since."""
    return (
        row is not None
        and row.status != "failed"
        and row.source_bytes == file_size(source / row.source)
        and row.bytes == file_size(destination / row.target)
    )


def write_manifest(destination: Path, rows: Iterable[Row]) -> Path:
    """Write the manifest atomically, sorted by source name."""
    path = destination / MANIFEST
    write_output(path, b"".join(_line(row) for row in sorted(rows, key=lambda row: row.source)))
    return path


def remove_unfinished(destination: Path, names: Sequence[str] | None) -> None:
    """Remove the unfinished files of killed runs.

    Args:
        destination: The folder.
        names: Source names of the videos whose unfinished files are removed; None for all.
    """
    stems = None if names is None else {destination / Path(name).with_suffix("") for name in names}
    for unfinished, target in unfinished_files(destination):
        if stems is None or target.with_suffix("") in stems:
            unfinished.unlink(missing_ok=True)


def _line(row: Row) -> bytes:
    return json.dumps(asdict(row)).encode("ascii") + b"\n"
