"""Annotation files of published data sets: where they lie, what their lines say."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

from lightning_utilities.core.rank_zero import rank_zero_only

from cvr_lightning.datamodules.errors import DatasetError, DatasetNotFoundError
from cvr_lightning.files.bounds import LimitError, read_text

log = logging.getLogger(__name__)

_NAMES_SHOWN = 2
_SHOWN = 100  # characters of a line


class Listed(NamedTuple):
    """A video as an annotation file lists it.

    Attributes:
        name: What :meth:`VideoFiles.find` takes.
        label: Class index, -1 where the file gives none.
    """

    name: str
    label: int


def annotation_files(
    dataset: str, folders: Sequence[Path], patterns: Sequence[str], source: str
) -> list[Path]:
    """The files of the first pattern that matches any, in the first such folder, sorted.

    Args:
        dataset: Name of the datamodule.
        folders: Where to look; the last is the root, or the folder that was named for annotations.
        patterns: File names with ``*``.
        source: Where the files are published.

    Raises:
        DatasetNotFoundError: Where there is none.
    """
    for folder in folders:
        names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
        for pattern in patterns:
            matching = [folder / name for name in names if fnmatchcase(name, pattern)]
            if matching:
                return matching
    raise _annotations_not_found(dataset, folders, patterns, source)


def _annotations_not_found(
    dataset: str, folders: Sequence[Path], patterns: Sequence[str], source: str
) -> DatasetNotFoundError:
    names = " or ".join(patterns[:_NAMES_SHOWN])
    if len(patterns) > _NAMES_SHOWN:
        names += f" (or {len(patterns) - _NAMES_SHOWN} other names: see its card in docs/datasets)"
    if folders[-1].is_dir():
        problem = f"no annotation file {names}"
        remedy = (
            f"download the annotations from {source} and put them there, or name their folder with "
            "--data.annotations; check --data.root where they are elsewhere"
        )
    else:
        problem = f"there is no folder {folders[-1].absolute()}, and so no annotation file {names}"
        remedy = (
            "point --data.root at the folder of the data set, or --data.annotations at that of its "
            f"annotations, which are published at {source}"
        )
    searched = ", ".join(str(folder.absolute()) for folder in folders)
    return DatasetNotFoundError(f"{dataset}: {problem}\n  searched: {searched}\n  remedy:   {remedy}")


def annotation_folders(root: str | Path, given: str | Path | None, usual: Sequence[str]) -> list[Path]:
    """Where annotations are looked for: the folder that was given, else the usual ones under the root."""
    return [Path(given)] if given is not None else [Path(root) / name for name in usual]


def read_lines(file: Path) -> Iterator[tuple[int, str]]:
    """Number and text of each line that is not blank, stripped of line ends and a byte-order mark.

    Raises:
        DatasetError: Where the file is not text.
    """
    try:
        text = read_text(file, "utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except OSError as error:
        raise DatasetError(f"{file} cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise DatasetError(f"{file} is not text ({error.reason}): download it again") from error
    except LimitError as error:
        raise DatasetError(f"{file} is no list of videos: {error}") from error
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            yield number, line.strip()


def bad_line(file: Path, number: int, line: str, expected: str) -> DatasetError:
    """The error for a line that says something else than its kind of file does."""
    return DatasetError(
        f"{file}, line {number}: {line[:_SHOWN]!r} is not {expected}; "
        "download the annotations again or mend the line"
    )


@rank_zero_only
def check_count(dataset: str, file: Path | str, listed: int, published: int) -> None:
    """Warn where an annotation file is not the published one."""
    if listed != published:
        log.warning(
            "%s: %s lists %d videos, where %d were published: scores do not compare with others'",
            dataset,
            file,
            listed,
            published,
        )
