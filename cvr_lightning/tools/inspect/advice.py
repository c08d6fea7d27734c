"""Advice on whether to prepare a video, with the reason and the command."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cvr_lightning.codec import CompressedVideoReader
from cvr_lightning.codec.errors import FETCH_AGAIN, PREPARE_OPTIONS
from cvr_lightning.codec.prepared.recipe import SUFFIX, Recipe

Verdict = Literal["needed", "advised", "optional", "not needed", "damaged"]


@dataclass(frozen=True)
class Advice:
    """What to do with a video.

    Attributes:
        verdict: ``needed`` if fields cannot be read, ``advised`` if they are read through FFmpeg,
            ``optional`` if all is exact but in another format, ``not needed`` if not, ``damaged``.
        why: The reason.
        commands: Command lines to prepare the video or its folder; empty if preparing does not help.
    """

    verdict: Verdict
    why: str
    commands: tuple[str, ...] = ()


def advise(video: CompressedVideoReader, refusal: str, damage: Sequence[str]) -> Advice:
    """Advice on a video.

    Args:
        video: The video.
        refusal: Why the reader cannot deliver all fields, empty if it can.
        damage: Damage found.
    """
    if damage:
        return Advice("damaged", FETCH_AGAIN)
    commands = _commands(video.path)
    if refusal:
        return Advice("needed", refusal, commands)
    if video.parser == "ffmpeg":
        return Advice(
            "advised", "reading through FFmpeg takes longer, and is exact for MPEG-4 Part 2 only", commands
        )
    misfit = Recipe().misfit(video)
    if misfit:
        return Advice(
            "optional",
            f"everything is read as it is; to match the format of the literature: {misfit}",
            commands,
        )
    return Advice("not needed", "it has the format that cvr prepare writes")


def _commands(path: str) -> tuple[str, ...]:
    stem = os.path.splitext(path)[0]
    folder = os.path.dirname(path) or "."
    prepared = _destination(folder)
    single = f"ffmpeg -i {_quoted(path)} {PREPARE_OPTIONS} {_quoted(f'{stem}_prepared{SUFFIX}')}"
    return (single, f"cvr prepare {_quoted(folder)} {_quoted(prepared)}")


def _destination(folder: str) -> str:
    """Destination for preparing a folder: the current directory, or beside the folder that contains it.

    Never beside a class folder, where the destination would look like another class.
    """
    if Path.cwd().is_relative_to(Path(folder).resolve()):
        return os.path.normpath(os.path.join(folder, os.pardir, "prepared"))
    return "prepared"


def _quoted(path: str) -> str:
    # A leading dash would be parsed as an option.
    return shlex.quote(f"./{path}" if path.startswith("-") else path)
