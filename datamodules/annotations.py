"""Annotation files of published data sets: finding and parsing them."""

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
_SHOWN = 100  # most characters of a line in messages


class Listed(NamedTuple):
    """A video in an annotation file.

    Attributes:
        name: Argument of :meth:`VideoFiles.find`.
        label: Class index, -1 if unknown.
    """

    name: str
    label: int


def annotation_files(
    dataset: str, folders: Sequence[Path], patterns: Sequence[str], source: str
) -> list[Path]:
    """Sorted files of the first pattern that matches, in the first folder with a match.

    Args:
        dataset: Name of the datamodule.
        folders: Folders to search; the last is the root, or the given annotation folder.
        patterns: File names with ``*``.
        source: Where the files are published.

    Raises:
        DatasetNotFoundError: There are none.
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
            f"download the annotations from {source} into one of these folders, or set their folder with "
            "--data.annotations; also check --data.root"
        )
    else:
        problem = f"the folder {folders[-1].absolute()} with annotation file {names} does not exist"
        remedy = (
            "set --data.root to the folder of the data set, or --data.annotations to that of its "
            f"annotations, published at {source}"
        )
    searched = ", ".join(str(folder.absolute()) for folder in folders)
    return DatasetNotFoundError(f"{dataset}: {problem}\n  searched: {searched}\n  solution: {remedy}")


def annotation_folders(root: str | Path, given: str | Path | None, usual: Sequence[str]) -> list[Path]:
    """Folders to search for annotations: the given one, else the usual ones under the root."""
    return [Path(given)] if given is not None else [Path(root) / name for name in usual]


def read_lines(file: Path) -> Iterator[tuple[int, str]]:
    """Yield number and text of each non-blank line, without line ends and byte-order mark.

    Raises:
        DatasetError: The file is not text.
    """
    try:
        text = read_text(file, "utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except OSError as error:
        raise DatasetError(f"{file} cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise DatasetError(f"{file} is not text ({error.reason}): download it again") from error
    except LimitError as error:
        raise DatasetError(f"{file} is not a list of videos: {error}") from error
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            yield number, line.strip()


def bad_line(file: Path, number: int, line: str, expected: str) -> DatasetError:
    """Error for a line that cannot be parsed."""
    return DatasetError(
        f"{file}, line {number}: {line[:_SHOWN]!r} is not {expected}; "
        "download the annotations again or fix the line"
    )


@rank_zero_only
def check_count(dataset: str, file: Path | str, listed: int, published: int) -> None:
    """Warn if an annotation file differs in length from the published one."""
    if listed != published:
        log.warning(
            "%s: %s lists %d videos instead of the published %d: scores are not comparable",
            dataset,
            file,
            listed,
            published,
        )
