"""Errors of the data sets: each names the folder or file, the cause and the next action."""

from __future__ import annotations

from pathlib import Path

from cvr_lightning.errors import UserError


class DatasetError(UserError):
    """Base of everything that is wrong with a data set as it lies on disk."""


class DatasetNotFoundError(DatasetError):
    """The files of a data set are not where they should be."""

    @classmethod
    def describe(cls, dataset: str, folder: Path, problem: str, layout: str) -> DatasetNotFoundError:
        """Compose the error.

        Args:
            dataset: Name of the datamodule.
            folder: The folder that was searched.
            problem: What is missing.
            layout: What the root should hold.
        """
        return cls(
            f"{dataset}: {problem}\n"
            f"  searched: {folder.absolute()}\n"
            f"  expected: {layout}\n"
            f"  remedy:   point --data.root at the folder that holds it, or put the files there"
        )


class DatasetMismatchError(DatasetError):
    """A folder holds something else than what was asked for."""
