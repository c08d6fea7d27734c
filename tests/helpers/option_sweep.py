"""Gives every option of every command values that it does not take.

    python tests/helpers/option_sweep.py [VALUES] [COMMAND...]

VALUES is the number of values for each option, all by default; each option begins with another one. No value
may end in a traceback, and the message of a value that is refused names its option. Values that a command
accepts end where all runs do: the videos here cannot be read. Prints each message that does not name its
option; those are to be read.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parents[1])]

from cvr_lightning.cli.main import main
from cvr_lightning.datamodules.sampling import ClipSampling
from helpers.tiny_runs import untrained_checkpoint

VALUES = ("", "x", "-1", "0", "nan", "1e999", "99999999999999999999", "null", "[]", "{a: 1}", "nowhere/x.y")
SLOW = re.compile(r"--(.*workers|.*num_nodes|.*devices|help|version|import|print_config|[\w.]+\.help)$")
"""Options whose values start processes or wait for others, and those that take none."""
TRAINER = ("fit", "pretrain", "validate", "test", "predict")


def commands(folder: Path) -> dict[str, list[str]]:
    """A command line of each command, which fails for its videos alone."""
    checkpoint, video = (
        untrained_checkpoint(folder / "a.ckpt", ["a", "b"], ClipSampling()),
        folder / "videos" / "train" / "a" / "0.avi",
    )
    for subset in ("train", "val", "test"):
        for name in "ab":
            (folder / "videos" / subset / name).mkdir(parents=True)
            (folder / "videos" / subset / name / "0.avi").write_bytes(b"no video")
    data = ["--data=Folder", f"--data.root={folder / 'videos'}", "--data.num_workers=0"]
    place = [f"--trainer.default_root_dir={folder / 'runs'}", "--run=x"]
    labels = ["--checkpoint", str(checkpoint)]
    return {
        "fit": ["fit", *data, *place],
        "pretrain": ["pretrain", *data, *place],
        **{name: [name, f"--ckpt_path={checkpoint}", *data, *place] for name in TRAINER[2:]},
        "classify": ["classify", str(video), *labels],
        "label": ["label", str(video), *labels, "--output", str(folder / "labels.csv"), "--workers=1"],
        "watch": ["watch", str(video), *labels],
        "inspect": ["inspect", str(video)],
        "export": ["export", str(checkpoint), str(folder / "nowhere" / "model.x")],
        "results": ["results", str(folder)],
        "report": ["report", str(folder)],
        "summarize": ["summarize", str(video), *labels],
        "presets": ["summarize", str(video), "--preset=tiny"],
        "prepare": ["prepare", str(folder / "videos"), str(folder / "prepared"), "--workers=1"],
        "pack": ["pack", str(folder / "shards"), *data],
    }


def call(command: list[str]) -> tuple[int, str]:
    """Exit status and output of a command."""
    text = io.StringIO()
    with contextlib.redirect_stdout(text), contextlib.redirect_stderr(text):
        try:
            main(command)
        except SystemExit as stop:
            return int(stop.code or 0), text.getvalue()
    return 0, text.getvalue()


def options(command: str) -> list[str]:
    """The options that the help of a command lists."""
    texts = [call([{"presets": "summarize"}.get(command, command), "--help"])[1]]
    if command in TRAINER or command == "pack":
        texts.append(call([command, "--data.help", "Folder"])[1])
    names = dict.fromkeys(name for text in texts for name in re.findall(r"(?<![\w-])--[a-z][\w.-]*\w", text))
    return [name for name in names if not SLOW.match(name)]


def sweep(command: str, arguments: list[str], count: int) -> Iterator[tuple[str, str, int, str]]:
    """Option, value, exit status and output of each case."""
    for number, option in enumerate(options(command)):
        for shift in range(count):
            value = VALUES[(number + shift) % len(VALUES)]
            yield option, value, *call([*arguments, f"{option}={value}"])


def verdict(option: str, status: int, text: str, accepted: str) -> str:
    """What a case shows: ``traceback``, ``named``, ``accepted``, or ``unnamed`` where somebody is to look."""
    if "Traceback" in text or "is a bug in" in text or status not in (0, 1, 2, 141):
        return "traceback"
    last = [line for line in text.splitlines() if line.strip()][-20:]
    if status and option.rpartition(".")[2].lstrip("-") in "\n".join(last):
        return "named"
    return "accepted" if not status or accepted in text else "unnamed"


def run() -> int:
    """Sweep the commands named on the command line; the number of tracebacks."""
    counts, names = Counter[str](), sys.argv[1:]
    values = int(names.pop(0)) if names and names[0].isdigit() else len(VALUES)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        lines = commands(Path(folder))
        for command in names or lines:
            status, text = call(lines[command])
            usual = text.splitlines()[-1][:60] if status else ""
            for option, value, ended, shown in sweep(command, lines[command], values):
                found = verdict(option, ended, shown, usual)
                counts[found] += 1
                if found in ("traceback", "unnamed"):
                    print(f"{found}: cvr {command} {option}={value!r}: {shown.strip()[-600:]}\n", flush=True)
            print(command, dict(counts), flush=True)
    return counts["traceback"]


if __name__ == "__main__":
    sys.exit(bool(run()))
