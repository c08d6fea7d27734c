"""Errors of data sets; each names the file or folder, the cause and the solution."""

from __future__ import annotations

from pathlib import Path

from cvr_lightning.errors import UserError


class DatasetError(UserError):
    """Base class of errors in a data set's files."""


class DatasetNotFoundError(DatasetError):
    """Files of a data set are missing."""

    @classmethod
    def describe(cls, dataset: str, folder: Path, problem: str, layout: str) -> DatasetNotFoundError:
        """Build the error message.

        Args:
            dataset: Name of the datamodule.
            folder: The folder that was searched.
            problem: What is missing.
            layout: Expected contents of the root.
        """
        return cls(
            f"{dataset}: {problem}\n"
            f"  searched: {folder.absolute()}\n"
            f"  expected: {layout}\n"
            f"  solution: set --data.root to the folder that contains it, or add the files"
        )


class DatasetMismatchError(DatasetError):
    """A folder contains something else than expected."""
