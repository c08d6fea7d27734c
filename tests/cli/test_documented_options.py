"""Commands in the documents have the options that they are shown with."""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import io
import re
from functools import cache
from pathlib import Path

import pytest

from cvr_lightning import datamodules
from cvr_lightning.cli.main import COMMANDS, main
from cvr_lightning.datamodules.pipelines import Augmentation
from cvr_lightning.datamodules.sampling import ClipSampling

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    *ROOT.glob("*.md"),
    *(page for page in ROOT.glob("docs/**/*.md") if page.parent.name != "benchmarks"),
    *ROOT.glob("configs/**/*.yaml"),
]
OPTION = re.compile(r"(?<![\w.-])--[a-z][\w.-]*")
OF_A_CLASS = re.compile(r"--(model\.model|optimizer|lr_scheduler)\.")
"""Arguments of a class that the command line names."""
EVERYWHERE = {"--import", "--help", "--data"}
"""``--data`` is also an argument of ``cvr prepare --pack``."""


@cache
def options_of(command: str) -> set[str]:
    """The options in a command's help."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out), pytest.raises(SystemExit):
        main([command, "--help"])
    return set(OPTION.findall(out.getvalue()))


@cache
def data_options() -> set[str]:
    """The options of all data sets, which no command's help lists."""
    classes = [kind for name in datamodules.__all__ for kind in getattr(datamodules, name).__mro__]
    names = {
        name
        for kind in classes
        if "__init__" in vars(kind)
        for name in inspect.signature(kind.__init__).parameters
    }
    for section, kind in (("sampling", ClipSampling), ("augmentation", Augmentation)):
        names |= {f"{section}.{field.name}" for field in dataclasses.fields(kind)}
    return {f"--data.{name}" for name in names}


def unknown_options(text: str) -> list[str]:
    """Options in command lines of a text that their command lacks, each with the command."""
    lines = re.findall(rf"\bcvr ({'|'.join(COMMANDS)})\b([^`|;\n]*)", re.sub(r"\\\n\s*#?", " ", text))
    return [
        f"cvr {command} {option}"
        for command, rest in lines
        for option in OPTION.findall(rest.partition(" #")[0])
        if option not in options_of(command) | data_options() | EVERYWHERE and not OF_A_CLASS.match(option)
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_in_documents_have_their_options(page: Path) -> None:
    assert unknown_options(page.read_text()) == []


def test_an_option_that_a_command_lacks_is_found() -> None:
    text = "cvr report RUN --worse 3\ncvr fit \\\n  --data.sampling.crop 128 --data.mixup 1  # --comment"
    assert unknown_options(text) == ["cvr report --worse", "cvr fit --data.mixup"]


def test_options_of_the_hparams_tab_exist() -> None:
    text = (ROOT / "configs/callbacks/hparams.yaml").read_text()
    names = re.search(r"options: \[(.*)\]", text)[1].split(", ")  # type: ignore[index]
    known = options_of("fit") | data_options() | EVERYWHERE
    assert [name for name in names if f"--{name}" not in known] == []
