"""Whether a video should be prepared, why, and with which command."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cvr_lightning.codec import CompressedVideoReader
from cvr_lightning.codec.errors import FETCH_AGAIN
from cvr_lightning.tools.prepare.recipe import SUFFIX, Recipe

Verdict = Literal["needed", "advised", "optional", "not needed", "damaged"]


@dataclass(frozen=True)
class Advice:
    """What to do with a video.

    Attributes:
        verdict: ``needed`` where not all can be read, ``advised`` where it is approximate, ``optional`` where
            all is exact but not of the form that preparation gives, ``not needed`` where it is, ``damaged``.
        why: The reason.
        commands: Command lines that prepare it, alone or with its folder; none where that is of no use.
    """

    verdict: Verdict
    why: str
    commands: tuple[str, ...] = ()


def advise(video: CompressedVideoReader, refusal: str, damage: Sequence[str]) -> Advice:
    """Advice on a video.

    Args:
        video: The video.
        refusal: Why the reader does not give all of it, empty where it does.
        damage: What was found damaged.
    """
    if damage:
        return Advice("damaged", FETCH_AGAIN)
    commands = _commands(video.path)
    if refusal:
        return Advice("needed", refusal, commands)
    if video.parser == "ffmpeg":
        return Advice(
            "advised", "what FFmpeg gives takes longer, and is exact in MPEG-4 Part 2 alone", commands
        )
    misfit = Recipe().misfit(video)
    if misfit:
        return Advice("optional", f"all is read as it is; for the form of the literature: {misfit}", commands)
    return Advice("not needed", "it has the form that cvr prepare gives")


def _commands(path: str) -> tuple[str, ...]:
    stem = os.path.splitext(path)[0]
    folder = os.path.dirname(path) or "."
    prepared = _destination(folder)
    single = (
        f"ffmpeg -i {_quoted(path)} -vf scale=340:256,setsar=1:1 -q:v 1 -c:v mpeg4 "
        f"{_quoted(f'{stem}_prepared{SUFFIX}')}"
    )
    return (single, f"cvr prepare {_quoted(folder)} {_quoted(prepared)}")


def _destination(folder: str) -> str:
    """Where to prepare a folder: in the current directory, or beside the folder that this lies in.

    Not beside the folder otherwise: that of a class would get a neighbour that looks like another class.
    """
    if Path.cwd().is_relative_to(Path(folder).resolve()):
        return os.path.normpath(os.path.join(folder, os.pardir, "prepared"))
    return "prepared"


def _quoted(path: str) -> str:
    # A name that begins with a dash would be taken for an option.
    return shlex.quote(f"./{path}" if path.startswith("-") else path)
