"""The command line: ``cvr fit | validate | test | predict`` and the tools."""

from __future__ import annotations

import difflib
import importlib
import sys
from collections.abc import Sequence
from typing import NoReturn

from cvr_lightning.cli.boundary import accept_any_text, one_message, show_warnings
from cvr_lightning.cli.import_path import leave_it_out_of_children, leave_out_current_directory
from cvr_lightning.cli.imports import import_by_name, split_imports

USAGE = """\
usage: cvr COMMAND [options]        (cvr COMMAND --help lists the options)

train and evaluate
  fit         train a model                    cvr fit --config configs/folder.yaml --data.root VIDEOS
  pretrain    train on unlabeled videos        cvr pretrain --config configs/pretrain.yaml --data.root VIDEOS
  validate    score the validation subset      cvr validate --ckpt_path runs/NAME/checkpoints/last.ckpt
  test        score the test subset            cvr test --ckpt_path ... --data.protocol 10x3
  predict     label the test subset and write predictions.csv

tools
  prepare     re-encode a folder of videos     cvr prepare SRC DST
  inspect     describe and draw a video        cvr inspect FILE [--checkpoint CKPT]
  pack        write a data set into tar files  cvr pack DST --data Folder --data.root VIDEOS
  classify    label a few files                cvr classify FILE... --checkpoint CKPT
  label       label many videos into a table   cvr label SOURCE... --checkpoint CKPT --output labels.parquet
  watch       label a video while it plays     cvr watch FILE --checkpoint CKPT
  export      write a model for other runtimes cvr export CKPT OUTPUT.onnx
  results     compare, average or fuse runs    cvr results RUN... [--mean | --fuse W...] [--format latex]
  report      write runs as one HTML page      cvr report RUN... --output report.html
  summarize   count operations and energy      cvr summarize --preset small

your own data sets and callbacks               cvr fit --import gestures.py --data gestures.Gestures ...
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command; returns None, so that a console script exits with 0.

    Args:
        arguments: The command line without the program's name; that of the process if None.

    Raises:
        SystemExit: With 1 or 2 if the command failed; the message is on stderr.
    """
    leave_out_current_directory()
    if arguments is None:
        leave_it_out_of_children()
        show_warnings()
        arguments = sys.argv[1:]
    accept_any_text()
    with one_message():
        rest, modules = split_imports(list(arguments))
        name = rest[0] if rest else "--help"
        if name not in {*COMMANDS, *_INFORMATION}:
            _refuse(name)
        for module in modules:
            import_by_name(module)
        _run(name, rest)


def _refuse(name: str) -> NoReturn:
    close = difflib.get_close_matches(name, COMMANDS, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    # the message comes last, where it is seen
    print(f"{USAGE}\ncvr: unknown command {name!r}{hint}", file=sys.stderr)
    raise SystemExit(2)


def _run(name: str, arguments: list[str]) -> None:
    if name in _INFORMATION:
        _INFORMATION[name]()
    else:
        module, _, function = COMMANDS[name].rpartition(".")
        command = getattr(importlib.import_module(f"cvr_lightning.cli.{module}"), function)
        command(arguments if name in TRAINER_COMMANDS else arguments[1:])


def _help() -> None:
    print(USAGE, end="")


def _version() -> None:
    from cvr_lightning import __version__

    print(__version__)


TRAINER_COMMANDS = ("fit", "validate", "test", "predict")
COMMANDS = {
    **dict.fromkeys(TRAINER_COMMANDS, "trainer.run_trainer"),
    "pretrain": "trainer.run_pretraining",
    "prepare": "prepare.main",
    "inspect": "inspect.main",
    "pack": "pack.main",
    "classify": "classify.main",
    "label": "label.main",
    "watch": "watch.main",
    "export": "export.main",
    "results": "results.main",
    "report": "report.main",
    "summarize": "summarize.main",
}
"""The function of each command, imported when it runs, so that help does not wait for torch."""
_INFORMATION = {"-h": _help, "--help": _help, "--version": _version}
