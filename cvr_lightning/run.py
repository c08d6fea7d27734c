"""The trainer's commands, by LightningCLI: configuration, run directories, self-contained checkpoints."""

from __future__ import annotations

import difflib
import json
import os
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn

import yaml
from lightning import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.cli import ArgsType, LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only

from cvr_lightning import datamodules
from cvr_lightning.callbacks import ConfusionMatrix, Predictions, Results
from cvr_lightning.classify import load_checkpoint
from cvr_lightning.datamodules import CompressedVideoDataModule
from cvr_lightning.errors import RunError
from cvr_lightning.module import CHECKPOINT_KEY, RecognitionModule

REPEATED = ("seed_everything", "run", "trainer", "model", "data")
"""Sections of a training run's configuration that its checkpoint hands to later commands."""


def run_trainer(arguments: list[str]) -> None:
    """Run ``fit``, ``validate``, ``test`` or ``predict``.

    Raises:
        RunError: Where the run cannot start as asked.
        CheckpointError: Where ``--ckpt_path`` names a file that is no checkpoint of this package.
    """
    CompressedVideoCLI(
        RecognitionModule,
        CompressedVideoDataModule,
        subclass_mode_data=True,
        save_config_callback=None,  # before_fit writes it, to the run directory
        parser_class=HelpfulParser,
        load_from_checkpoint_support=False,  # checkpoints carry plain values, see RecognitionModule
        seed_everything_default=0,
        args=with_checkpoint_config(arguments),
        trainer_defaults={
            "default_root_dir": "runs",
            "use_distributed_sampler": False,  # the datamodule's sampler counts each video once
            "callbacks": [ConfusionMatrix(), Results(), Predictions()],
        },
    )


def with_checkpoint_config(arguments: list[str]) -> list[str]:
    """Put the configuration inside a checkpoint before all other options, so that each of them overrides it.

    Args:
        arguments: The command and its options.
    """
    given = [
        value if option == "--ckpt_path" else option.partition("=")[2]
        for option, value in zip(arguments, [*arguments[1:], ""], strict=True)
        if option.partition("=")[0] == "--ckpt_path"
    ]
    path = given[-1] if given else ""
    if not path.endswith(".ckpt"):  # none, or one of the names "best" and "last"
        return arguments
    stored = load_checkpoint(path)[CHECKPOINT_KEY].get("config", {})
    repeated = {name: stored[name] for name in REPEATED if name in stored}
    return [arguments[0], "--config", json.dumps(repeated), *arguments[1:]]


class HelpfulParser(LightningArgumentParser):
    """The parser with a hint where a class name is misspelt."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Add the close match among the data sets before exiting with 2."""
        for word in (part.strip("'\",.:=") for part in message.split()):
            close = difflib.get_close_matches(word, datamodules.__all__, n=1, cutoff=0.7)
            if close and word not in datamodules.__all__:
                message += f"\n\nDid you mean {close[0]!r}? There are: {', '.join(datamodules.__all__)}."
                break
        super().error(message, ex)


class CompressedVideoCLI(LightningCLI):
    """LightningCLI with one directory a run: configuration, events, checkpoints and results side by side."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the run's name and the checkpoints; link what the data says to the model."""
        parser.add_argument(
            "--run",
            type=str | None,
            default=None,
            help="Name of the run: its directory is default_root_dir/RUN. Default: the command and the time.",
        )
        parser.add_lightning_class_args(ModelCheckpoint, "checkpoint")
        parser.set_defaults(
            {
                "data": "MotionShapes",
                "checkpoint.filename": "best",
                "checkpoint.monitor": "val/top1",
                "checkpoint.mode": "max",
                "checkpoint.save_last": True,
                "checkpoint.enable_version_counter": False,
            }
        )
        for name in ("class_names", "residual_channels"):
            parser.link_arguments(f"data.{name}", f"model.{name}", apply_on="instantiate")

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        """Parse the arguments given, without a look at those of the process."""
        self.config = parser.parse_args(args)  # type: ignore[arg-type]

    def before_instantiate_classes(self) -> None:
        """Choose the run directory and send everything there.

        Raises:
            RunError: Where a new training run would overwrite another's checkpoints.
        """
        command = str(self.subcommand)
        self.run_config = json.loads(self.parser.dump(self.config, format="json"))[command]
        config = self.config[command]
        directory = Path(config.trainer.default_root_dir) / (config.run or _default_run_name(command))
        if command == "fit" and not config.ckpt_path and any(directory.glob("checkpoints/*.ckpt")):
            raise RunError(
                f"{directory} holds the checkpoints of an earlier run. Resume it with --ckpt_path last, "
                "choose another --run, or remove the directory"
            )
        config.trainer.default_root_dir = str(directory)
        config.checkpoint.dirpath = config.checkpoint.dirpath or str(directory / "checkpoints")

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Build the trainer; unless another logger is asked for, TensorBoard writes to the run directory."""
        config = self.config_init[self.subcommand].trainer
        if config.logger in (None, True):
            kwargs["logger"] = TensorBoardLogger(config.default_root_dir, name="", version="")
        self.model.run_config = self.run_config
        return super().instantiate_trainer(**kwargs)

    @rank_zero_only
    def before_fit(self) -> None:
        """Write the configuration beside the checkpoints."""
        path = Path(self.trainer.default_root_dir) / "config.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(".config.yaml.tmp")
        temporary.write_text(yaml.safe_dump(self.run_config, sort_keys=False), encoding="utf-8")
        temporary.replace(path)


def _default_run_name(command: str) -> str:
    """The command and the time, the same in all processes of a run: they inherit it, or share a job's id."""
    job = os.environ.get("TORCHELASTIC_RUN_ID") or os.environ.get("SLURM_JOB_ID")
    name = f"{command}-{job}" if job else f"{command}-{datetime.now():%Y-%m-%d_%H-%M-%S}"
    return os.environ.setdefault("CVR_RUN", name)
