"""The trainer's commands, by LightningCLI: configuration, run directories, self-contained checkpoints."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, Literal

from lightning import LightningModule
from lightning.pytorch import Callback

from cvr_lightning.callbacks.defaults import default_callbacks
from cvr_lightning.cli.bundled import with_bundled_configs
from cvr_lightning.cli.lightning_cli import CompressedVideoCLI, PretrainingCLI
from cvr_lightning.cli.noise import leave_out_noise
from cvr_lightning.cli.option_checks import check_text
from cvr_lightning.cli.option_errors import trainer_errors
from cvr_lightning.cli.parser import HelpfulParser
from cvr_lightning.cli.run_directory import require_weights
from cvr_lightning.cli.signals import StopTogether, exit_status_of_signals
from cvr_lightning.cli.stored_options import StoredOptions, with_stored_options
from cvr_lightning.datamodules import CompressedVideoDataModule
from cvr_lightning.errors import RunError
from cvr_lightning.inference.memory import keep_freed_memory
from cvr_lightning.training.checkpoint import load_checkpoint, load_pretraining
from cvr_lightning.training.module import RecognitionModule
from cvr_lightning.training.pretraining import PretrainingModule
from cvr_lightning.training.run_checkpoint import LastCheckpoint, RunCheckpoint


def run_trainer(arguments: list[str]) -> None:
    """Run ``fit``, ``validate``, ``test`` or ``predict``.

    Raises:
        RunError: The run cannot start with these options.
        CheckpointError: ``--ckpt_path`` is not a checkpoint of this package.
    """
    keep_freed_memory()
    arguments = with_bundled_configs(arguments)
    callbacks = [StopTogether(), *default_callbacks(arguments[0])]
    if arguments[0] == "fit":
        callbacks += _own_checkpoints("val/top1", "max")
    _run(CompressedVideoCLI, RecognitionModule, arguments, load_checkpoint, callbacks)


def run_pretraining(options: list[str]) -> None:
    """Run ``pretrain``: ``fit`` with the module for pretraining.

    Raises:
        RunError: The run cannot start with these options.
        CheckpointError: ``--ckpt_path`` is not a checkpoint of pretraining.
    """
    arguments = with_bundled_configs(["fit", *options])
    callbacks = [StopTogether(), *_own_checkpoints("val/loss", "min")]
    _run(PretrainingCLI, PretrainingModule, arguments, load_pretraining, callbacks)


def _own_checkpoints(monitor: str, mode: Literal["min", "max"]) -> list[Callback]:
    return [
        RunCheckpoint(monitor=monitor, mode=mode, filename="best", enable_version_counter=False),
        LastCheckpoint(),
    ]


def _run(
    cli: type[CompressedVideoCLI],
    module: type[LightningModule],
    arguments: list[str],
    load: Callable[[str], dict[str, Any]],
    callbacks: list[Callback],
) -> None:
    leave_out_noise()
    check_text(arguments)
    stored = with_stored_options(arguments, load)
    require_data(stored, cli.example)
    with ExitStack() as locks, exit_status_of_signals(), trainer_errors():
        cli(
            module,
            CompressedVideoDataModule,
            subclass_mode_data=True,
            save_config_callback=None,  # before_fit writes it, to the run directory
            parser_class=HelpfulParser,
            load_from_checkpoint_support=False,  # checkpoints carry plain values, see RecognitionModule
            seed_everything_default=0,
            args=stored.arguments,
            stored=stored,
            locks=locks,
            trainer_defaults={
                "default_root_dir": "runs",
                "enable_model_summary": False,  # the module logs its size itself
                "callbacks": callbacks,
            },
        )


def require_data(command: StoredOptions, example: str) -> None:
    """Refuse a command line without data.

    Args:
        command: The command, its options and its checkpoint.
        example: Example command lines for the message.

    Raises:
        RunError: Neither a configuration nor a data set is given.
    """
    names = {option.partition("=")[0] for option in command.arguments}
    if not names.isdisjoint({"-c", "--config", "--data", "-h", "--help", "--data.help"}):
        return
    if command.arguments[0] != "fit":  # with a checkpoint, its configuration would have named the data
        require_weights(command.arguments[0], command.path)
    raise RunError(f"no videos to read: name a data set or a configuration, such as\n{example}")
