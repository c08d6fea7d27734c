"""Directs the loggers of a run to its directory, unless the user gives another place."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from jsonargparse import Namespace
from lightning.pytorch.cli import LightningArgumentParser
from lightning.pytorch.loggers import Logger, TensorBoardLogger

from cvr_lightning.training.metrics_file import MetricsFile

NOT_GIVEN = ""
"""Replaces the defaults of Lightning's loggers, to recognize options that the user has not given."""


def forget_default_places(parser: LightningArgumentParser, kind: type, options: Iterable[str]) -> None:
    """Remove the defaults of a logger's directory and name from its parser.

    Args:
        parser: Parser of the options of a class.
        kind: The class.
        options: Names of its options.
    """
    if issubclass(kind, Logger):
        parser.set_defaults({name: NOT_GIVEN for name in ("save_dir", "name") if name in options})
    if issubclass(kind, TensorBoardLogger):
        parser.set_defaults({"default_hp_metric": False})


def send_to_run(loggers: Any, directory: Path) -> None:
    """Fill in ``save_dir``, ``name`` and ``version`` unless the user has given them.

    Args:
        loggers: The parsed option ``logger`` of the trainer.
        directory: The run directory.
    """
    for logger in loggers if isinstance(loggers, list) else [loggers]:
        if isinstance(logger, Namespace) and "init_args" in logger:
            _fill_in(logger.class_path, logger.init_args, directory)


def _fill_in(class_path: str, options: Namespace, directory: Path) -> None:
    name = directory.name
    if options.get("save_dir") == NOT_GIVEN:
        options.save_dir = str(directory)
        # Of these two loggers, name and version are folders below save_dir.
        name = {"TensorBoardLogger": "", "CSVLogger": "csv"}.get(class_path.rpartition(".")[2], name)
    for option in ("name", "run_name"):
        if option in options and not options[option]:
            options[option] = name
    if class_path.endswith(".TensorBoardLogger") and options.version is None:
        options.version = ""


class RunBoard(TensorBoardLogger):
    """TensorBoard in the run directory, whose groups sort as train, val, vitals.

    The trainer's ``epoch`` and the results of a test are logged below ``vitals/``.

    Args:
        directory: The run directory.
    """

    def __init__(self, directory: Path) -> None:
        super().__init__(str(directory), name="", version="", default_hp_metric=False)

    def save(self) -> None:
        """Write no hparams.yaml: config.yaml replaces it, and it could be a link out of the directory."""
        self.experiment.flush()

    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Log scalars."""
        late = [name for name in metrics if name.partition("/")[0] in ("epoch", "test")]
        tags = {name: f"vitals/{name}" if name in late else name for name in metrics}
        super().log_metrics({tags[name]: value for name, value in metrics.items()}, step)


def run_loggers(configured: Any, directory: Path) -> list[Logger]:
    """The loggers of a run: the configured ones, or TensorBoard by default, and always metrics.csv.

    Args:
        configured: The instantiated option ``logger`` of the trainer.
        directory: The run directory.
    """
    if configured in (None, True):
        configured = RunBoard(directory)
    loggers = [] if configured is False else configured if isinstance(configured, list) else [configured]
    return [*loggers, MetricsFile(directory)]
