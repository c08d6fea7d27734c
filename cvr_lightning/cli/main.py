"""The command line: ``cvr fit | validate | test | predict`` and the tools."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Callable, Sequence

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
  inspect     what a video holds, on a sheet   cvr inspect FILE [--checkpoint CKPT]
  pack        write a data set into tar files  cvr pack DST --data Folder --data.root VIDEOS
  classify    label video files                cvr classify FILE... --checkpoint CKPT
  watch       label a video while it plays     cvr watch FILE --checkpoint CKPT
  export      write a model for other runtimes cvr export CKPT OUTPUT.onnx
  results     compare, average or fuse runs    cvr results RUN... [--mean | --fuse W...] [--format latex]
  report      runs as one HTML page            cvr report RUN... --output report.html
  summarize   parameters, operations, joules   cvr summarize --preset small

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
        command = _command(rest[0] if rest else "--help")
        for module in modules:
            import_by_name(module)
        command(rest)


def _help(arguments: list[str]) -> None:
    print(USAGE, end="")


def _version(arguments: list[str]) -> None:
    from cvr_lightning import __version__

    print(__version__)


def _command(name: str) -> Callable[[list[str]], None]:
    # Commands import what they need when they run, so that help does not wait for torch.
    if name in COMMANDS or name in _INFORMATION:
        return (COMMANDS | _INFORMATION)[name]
    close = difflib.get_close_matches(name, COMMANDS, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    # the message comes last, where it is seen
    print(f"{USAGE}\ncvr: unknown command {name!r}{hint}", file=sys.stderr)
    raise SystemExit(2)


def _run_trainer(arguments: list[str]) -> None:
    from cvr_lightning.cli.trainer import run_trainer
    from cvr_lightning.inference.memory import keep_freed_memory

    keep_freed_memory()
    run_trainer(arguments)


def _pretrain(arguments: list[str]) -> None:
    from cvr_lightning.cli.trainer import run_pretraining

    run_pretraining(arguments[1:])


def _prepare(arguments: list[str]) -> None:
    from cvr_lightning.cli.prepare import main as prepare

    prepare(arguments[1:])


def _inspect(arguments: list[str]) -> None:
    from cvr_lightning.cli.inspect import main as inspect

    inspect(arguments[1:])


def _pack(arguments: list[str]) -> None:
    from cvr_lightning.cli.pack import main as pack

    pack(arguments[1:])


def _classify(arguments: list[str]) -> None:
    from cvr_lightning.cli.classify import main as classify

    classify(arguments[1:])


def _watch(arguments: list[str]) -> None:
    from cvr_lightning.inference.watch import main as watch

    watch(arguments[1:])


def _export(arguments: list[str]) -> None:
    from cvr_lightning.inference.export import main as export

    export(arguments[1:])


def _results(arguments: list[str]) -> None:
    from cvr_lightning.cli.results import main as results

    results(arguments[1:])


def _report(arguments: list[str]) -> None:
    from cvr_lightning.cli.report import main as report

    report(arguments[1:])


def _summarize(arguments: list[str]) -> None:
    from cvr_lightning.tools.summarize import main as summarize

    summarize(arguments[1:])


COMMANDS: dict[str, Callable[[list[str]], None]] = {
    "fit": _run_trainer,
    "pretrain": _pretrain,
    "validate": _run_trainer,
    "test": _run_trainer,
    "predict": _run_trainer,
    "prepare": _prepare,
    "inspect": _inspect,
    "pack": _pack,
    "classify": _classify,
    "watch": _watch,
    "export": _export,
    "results": _results,
    "report": _report,
    "summarize": _summarize,
}
_INFORMATION: dict[str, Callable[[list[str]], None]] = {"-h": _help, "--help": _help, "--version": _version}
