"""LightningCLI with one directory per run, and without options that files could set."""

from __future__ import annotations

import json
import os
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal

import yaml
from jsonargparse.typing import PositiveInt
from lightning import LightningModule, Trainer
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch.cli import ArgsType, LightningArgumentParser, LightningCLI, ReduceLROnPlateau
from lightning_utilities.core.rank_zero import rank_zero_only
from torch.optim import Optimizer

from cvr_lightning.callbacks.defaults import without_replaced
from cvr_lightning.callbacks.energy import EnergyMonitor
from cvr_lightning.callbacks.mixed_precision import SHORT, check_precision
from cvr_lightning.cli.ending import fit_ending
from cvr_lightning.cli.loggers import run_loggers, send_to_run
from cvr_lightning.cli.option_checks import check_data_options, check_trainer_options
from cvr_lightning.cli.option_errors import plain_errors
from cvr_lightning.cli.parser import keep_integers, read_no_values
from cvr_lightning.cli.run_directory import (
    default_run_name,
    keep_apart,
    protect,
    require_last,
    require_weights,
    without_parents,
)
from cvr_lightning.cli.stored_options import StoredOptions
from cvr_lightning.datamodules import Folder
from cvr_lightning.errors import OptionError, RunError
from cvr_lightning.files.atomic import unfinished_files, write_output
from cvr_lightning.files.lock import hold
from cvr_lightning.files.printable import all_without_secrets
from cvr_lightning.training.checkpoint import read_checkpoint
from cvr_lightning.training.module import RecognitionModule
from cvr_lightning.training.optimizer import with_cosine
from cvr_lightning.training.pretraining import PretrainingModule
from cvr_lightning.training.run_checkpoint import RunCheckpoint, StepCheckpoint, WholeCheckpointIO


class CompressedVideoCLI(LightningCLI):
    """LightningCLI with one directory per run for configuration, events, checkpoints and results.

    Args:
        stored: Options from the command's checkpoint.
        *arguments: Arguments of LightningCLI.
        **options: Options of LightningCLI.

    Attributes:
        linked: Attributes of the data that set the model's options of the same name.
        example: Example command lines for users who named no videos.
        next_command: Command after a training, with ``{}`` for its checkpoint.
    """

    linked: tuple[str, ...] = ("class_names", "residual_channels", "representation")
    next_command = "cvr test --ckpt_path {}"
    example = (
        "  cvr fit --data Folder --data.root VIDEOS     your own videos, VIDEOS/<class>/<video>\n"
        "  cvr fit --config ucf101 --data.root UCF101   a published data set\n"
        "  cvr fit --config demo                        generated videos, for a first look"
    )

    def __init__(self, *arguments: Any, stored: StoredOptions, locks: ExitStack, **options: Any) -> None:
        self._stored = stored
        self._locks = locks
        super().__init__(*arguments, **options)

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """Leave out options of the trainer's methods.

        Checkpoints are always loaded as weights and plain values. ``verbose`` is an option of all commands.
        """
        own = {"weights_only", "verbose"}
        return {name: skipped | own for name, skipped in LightningCLI.subcommands().items()}

    def _parse_ckpt_path(self) -> None:
        """Take no hyper-parameters from a checkpoint; LightningCLI would let them override all options."""

    def _prepare_subcommand_kwargs(self, subcommand: str) -> dict[str, Any]:
        own = {"weights_only": True} | ({"verbose": False} if subcommand == "test" else {})  # Results prints
        return {**super()._prepare_subcommand_kwargs(subcommand), **own}

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the run's name, and link data to model options."""
        parser.add_argument(
            "--run",
            type=str | None,
            default=None,
            help="Name of the run: its directory is default_root_dir/RUN. Default: the command and the time.",
        )
        parser.add_argument(
            "--save_every",
            type=PositiveInt | None,
            default=None,
            help="In training, write last.ckpt after so many steps too, not only after each epoch.",
        )
        parser.add_argument("--verbose", action="store_true", help="Print the table of energies at the end.")
        for name in self.linked:
            parser.link_arguments(f"data.{name}", f"model.{name}", apply_on="instantiate")
        parser.add_argument(
            "--lr_interval",
            type=Literal["epoch", "step"],
            default="epoch",
            help="When --lr_scheduler advances. Without one, the module's own schedule advances every step.",
        )
        keep_integers(parser)
        read_no_values(parser)

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        """Parse and check the given arguments, not those of the process.

        Raises:
            OptionError: An option has a value that it does not take.
        """
        self.config = parser.parse_args(args)  # type: ignore[arg-type]
        options = self.config[self.config.subcommand]
        check_trainer_options(options)
        check_data_options(options.data)

    def before_instantiate_classes(self) -> None:
        """Set up the run directory.

        Raises:
            RunError: A new training would overwrite another run's checkpoints, or weights are needed and not
            given.
        """
        command = str(self.subcommand)
        dumped = json.loads(self.parser.dump(self.config, format="json"))[command]
        self.run_config = all_without_secrets(dumped)
        config = self.config[command]
        if config.ckpt_path not in (None, "last", self._stored.path):
            raise RunError(
                "ckpt_path in a configuration: name the checkpoint on the command line, with --ckpt_path"
            )
        name = config.run or default_run_name(self.run_name(command))
        directory = without_parents(Path(config.trainer.default_root_dir or "runs") / name)
        if command == "fit":
            protect(directory, config.ckpt_path)
        else:
            require_weights(command, config.ckpt_path)
            config.trainer.enable_checkpointing = False
        if config.ckpt_path not in (None, "last"):
            # An absolute path cannot be mistaken for a URL or a registry.
            config.ckpt_path = os.path.abspath(config.ckpt_path)
        if config.lr_scheduler and not config.optimizer:
            raise OptionError(
                "--lr_scheduler needs --optimizer, such as --optimizer AdamW --optimizer.lr 0.001"
            )
        config.trainer.default_root_dir = str(directory)
        send_to_run(config.trainer.logger, directory)

    def configure_optimizers(  # type: ignore[override]
        self, lightning_module: LightningModule, optimizer: Optimizer, lr_scheduler: Any = None
    ) -> Any:
        """Use ``--optimizer`` in place of the module's AdamW.

        Without ``--lr_scheduler`` the module's schedule is kept, which LightningCLI would drop.
        """
        assert isinstance(lightning_module, RecognitionModule | PretrainingModule)
        if lr_scheduler is None:
            ratios = (lightning_module.warmup_ratio, lightning_module.final_lr_ratio)
            return with_cosine(lightning_module, optimizer, *ratios)
        schedule = {"scheduler": lr_scheduler, "interval": self.config[self.subcommand].lr_interval}
        if isinstance(lr_scheduler, ReduceLROnPlateau):
            schedule |= {"monitor": lr_scheduler.monitor, "interval": "epoch"}
        return {"optimizer": optimizer, "lr_scheduler": schedule}

    def instantiate_classes(self) -> None:
        """Build data, model and trainer.

        Raises:
            UserError: Data is missing, or an option is out of range.
            RunError: The run directory is among class folders, there is no checkpoint to resume from, or
                ``overfit_batches`` is set.
        """
        with plain_errors():
            super().instantiate_classes()
        self.datamodule.writable = self._stored.root_is_named
        directory = Path(self.trainer.default_root_dir)
        if isinstance(self.datamodule, Folder) and self.datamodule.flat:
            keep_apart(directory, self.datamodule.root)
        if self.config[self.subcommand].ckpt_path == "last":
            for path in filter(Path.is_file, require_last(self.trainer)):
                read_checkpoint(path)
        if self.trainer.overfit_batches:  # type: ignore[attr-defined]
            raise RunError(
                "--trainer.overfit_batches replaces the data set's sampler, which "
                "also draws windows; use a folder with a few videos instead"
            )

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Build the trainer; by default, TensorBoard logs to the run directory.

        Configured callbacks replace default ones of the same class. Checkpoints and metrics.csv
        are in the run directory with any logger.
        """
        config = self.config_init[self.subcommand].trainer
        named = config.callbacks or []
        self.trainer_defaults["callbacks"] = without_replaced(
            self.trainer_defaults["callbacks"], named if isinstance(named, list) else [named]
        )
        steps = self.config[self.subcommand].save_every
        if steps and self.subcommand == "fit":
            self.trainer_defaults["callbacks"].append(StepCheckpoint(steps))
        for callback in self.trainer_defaults["callbacks"]:
            if isinstance(callback, RunCheckpoint):  # its default is the first logger's directory
                callback.dirpath = str(Path(config.default_root_dir) / "checkpoints")
        kwargs["logger"] = run_loggers(config.logger, Path(config.default_root_dir))
        self.model.run_config = self.run_config
        trainer = super().instantiate_trainer(**kwargs)
        if self.subcommand == "fit":
            asked = str(config.precision)
            check_precision(SHORT.get(asked, asked), str(trainer.precision), trainer.strategy.root_device)
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(callback, EnergyMonitor) and self.config[self.subcommand].verbose:
                callback.prints_table = True
        if type(trainer.strategy.checkpoint_io) is TorchCheckpointIO:  # not a configured one
            trainer.strategy.checkpoint_io = WholeCheckpointIO()
        return trainer

    def run_name(self, command: str) -> str:
        """Beginning of a run's default name."""
        return command

    @rank_zero_only
    def before_fit(self) -> None:
        """Write the configuration next to the checkpoints."""
        self._make_directory()
        directory = Path(self.trainer.default_root_dir)
        protect(directory, self.config[self.subcommand].ckpt_path)  # another run may have started meanwhile
        text = yaml.safe_dump(self.run_config, sort_keys=False)
        write_output(directory / "config.yaml", text.encode())

    @rank_zero_only
    def _make_directory(self) -> None:
        """Create and lock the run directory, before any work is done.

        Raises:
            InUseError: Another run writes to it.
            OutputError: It cannot be written.
        """
        directory = Path(self.trainer.default_root_dir)
        self._locks.enter_context(hold(directory))
        for unfinished, _ in list(unfinished_files(directory)):  # of killed runs
            unfinished.unlink()

    @rank_zero_only
    def after_fit(self) -> None:
        """Print the summary of the training."""
        best = next(
            callback
            for callback in self.trainer.callbacks  # type: ignore[attr-defined]
            if isinstance(callback, RunCheckpoint) and callback.monitor
        )
        text = fit_ending(Path(self.trainer.default_root_dir), best, self.next_command)
        if text is not None:
            print(f"\n{text}")

    before_validate = before_test = before_predict = _make_directory


class PretrainingCLI(CompressedVideoCLI):
    """The CLI for pretraining."""

    linked = ("residual_channels", "pframes")
    next_command = "cvr fit --model.pretrained {} --data Folder --data.root VIDEOS"
    example = (
        "  cvr pretrain --data Unlabeled --data.root VIDEOS   every video below a folder\n"
        "  cvr pretrain --config pretrain --data.root VIDEOS   the same with the options that were tried"
    )

    def run_name(self, command: str) -> str:
        """Begin a run's default name with the command."""
        return "pretrain"
