"""metrics.csv: all scalars that a run logs, regardless of its other loggers."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from io import TextIOWrapper
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger
from lightning_utilities.core.rank_zero import rank_zero_only

from cvr_lightning.errors import RunError
from cvr_lightning.files.atomic import atomic_path, output_error
from cvr_lightning.files.bounds import read_text
from cvr_lightning.files.regular import open_to_append

FILE_NAME = "metrics.csv"


class MetricsFile(Logger):
    """Writes a row for each step and a column for each scalar, like Lightning's CSVLogger.

    Unlike with CSVLogger, resumed runs and later tests append to the file; if a step has several rows, the
    last one is valid.

    Args:
        directory: The run directory.
    """

    def __init__(self, directory: str | Path) -> None:
        super().__init__()
        self._directory = Path(directory)
        self._columns: list[str] | None = None
        self._row: dict[str, float] = {}

    @property
    def name(self) -> str:
        """Empty, since the file is in the run directory itself."""
        return ""

    @property
    def version(self) -> str:
        """Empty, since a run has one file."""
        return ""

    @property
    def save_dir(self) -> str:
        """The run directory."""
        return str(self._directory)

    @property
    def path(self) -> Path:
        """The file."""
        return self._directory / FILE_NAME

    def log_hyperparams(self, params: Any, *arguments: Any, **options: Any) -> None:
        """Do nothing; config.yaml contains them."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Add scalars to the row of a step; it is written when another step begins.

        Raises:
            OutputError: The file cannot be written.
        """
        step = 0 if step is None else step
        if self._row.get("step") != step:
            self._write()
            self._row = {"step": step}
        self._row.update({name: float(value) for name, value in metrics.items()})

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Write the last row.

        Raises:
            OutputError: The file cannot be written.
        """
        self._write()

    def _write(self) -> None:
        row, self._row = self._row, {}
        if not row:
            return
        if self._columns is None or not row.keys() <= set(self._columns):
            self._write_with_columns(row)
            return
        try:
            with TextIOWrapper(open_to_append(self.path), encoding="utf-8", newline="") as file:
                csv.DictWriter(file, self._columns, lineterminator="\n").writerow(row)
        except OSError as error:
            raise output_error(self.path, error) from error

    def _write_with_columns(self, row: Mapping[str, float]) -> None:
        """Rewrite the file with the new columns of this row."""
        try:
            lines = read_text(self.path).splitlines(keepends=True)
        except (FileNotFoundError, NotADirectoryError):
            lines = []
        except (OSError, ValueError) as error:
            raise RunError(f"{self.path}: not a file of metrics ({error}); remove it from the run") from error
        # The last line of a killed run may be incomplete.
        reader = csv.DictReader(line for line in lines if line.endswith("\n"))
        self._columns = list(dict.fromkeys([*(reader.fieldnames or ()), *row]))
        rows: Iterable[Mapping[str, Any]] = [*reader, row]
        with atomic_path(self.path) as unfinished, unfinished.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, self._columns, lineterminator="\n", extrasaction="ignore")
            writer.writeheader()
            writer.writerows(rows)
