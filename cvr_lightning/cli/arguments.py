"""Types of the commands' arguments, and options that several commands share."""

from __future__ import annotations

import argparse

from cvr_lightning.codec.prepared.recipe import MAX_GOP, MAX_SIDE
from cvr_lightning.tools.prepare.tree import ArrayJob

_MOST = 1_000_000
"""Largest count that an option takes."""


def described(command: str, description: str) -> argparse.ArgumentParser:
    """A parser whose help shows the description with its own line breaks; options are written in full."""
    return argparse.ArgumentParser(
        prog=command,
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )


def add_machines(parser: argparse.ArgumentParser, workers: str, job: str) -> None:
    """Add ``--workers``, ``--ray`` and ``--job``.

    Args:
        parser: The parser of the command.
        workers: What the workers are, for the help.
        job: What a job of an array does, for the help.
    """
    parser.add_argument(
        "--workers",
        type=at_least_one,
        metavar="N",
        help=f"{workers} (default: all cores; with --ray, those of the cluster)",
    )
    parser.add_argument(
        "--ray",
        metavar="ADDRESS",
        help="work on the machines of a Ray cluster: host:port, or auto for the cluster of this machine",
    )
    parser.add_argument(
        "--job", type=array_job, default=ArrayJob(), metavar="I/N", help=f"{job}: for job arrays"
    )


def at_least_one(text: str) -> int:
    """Parse a positive whole number."""
    value = _whole(text)
    if not value:
        raise argparse.ArgumentTypeError(f"{text!r} must be a whole number, at least 1 and at most {_MOST:,}")
    return value


def gop_length(text: str) -> int:
    """Parse a number of frames from an I-frame to the next."""
    value = at_least_one(text)
    if value > MAX_GOP:
        raise argparse.ArgumentTypeError(f"{value} exceeds the limit of FFmpeg's encoder ({MAX_GOP})")
    return value


def frame_side(text: str) -> int:
    """Parse a side of a frame in pixels."""
    value = at_least_one(text)
    if value % 2 or value > MAX_SIDE:
        raise argparse.ArgumentTypeError(f"{value} must be even and at most {MAX_SIDE}: 4:2:0 halves it")
    return value


def frame_size(text: str) -> tuple[int, int]:
    """Parse ``WxH``."""
    width, separator, height = text.partition("x")
    if not (separator and _whole(width) and _whole(height)):
        raise argparse.ArgumentTypeError(f"{text!r} is not a size; write WIDTHxHEIGHT, such as 340x256")
    return frame_side(width), frame_side(height)


def array_job(text: str) -> ArrayJob:
    """Parse ``I/N``."""
    number, separator, count = text.partition("/")
    if not (separator and 1 <= _whole(number) <= _whole(count)):
        raise argparse.ArgumentTypeError(f"{text!r} is not a job; write I/N with I from 1 to N, such as 3/8")
    return ArrayJob(int(number), int(count))


def seconds(text: str) -> float:
    """Parse a length of time: a number, or a number with s, m or h."""
    unit = {"s": 1, "m": 60, "h": 3600}.get(text[-1:], 0)
    try:
        value = float(text[:-1] if unit else text) * (unit or 1)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a length of time; write 10s, 2m or 1h")
    return value


def _whole(text: str) -> int:
    """A whole number up to the limit; 0 for other text."""
    value = int(text) if text.isascii() and text.isdigit() and len(text) < 12 else 0
    return value if value <= _MOST else 0
