"""Date, machine and versions of a measurement, and packages that cannot be used."""

from __future__ import annotations

import importlib
import os
import platform
import re
from collections.abc import Sequence
from datetime import date
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

MODULES = {"decord2": "decord", "nvidia-ml-py": "pynvml", "torchcodec": "torchcodec.decoders"}
"""Module to import to check a distribution, if its name differs."""


def heading(title: str, packages: Sequence[str], protocol: str) -> str:
    where = f"{cpu()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    return f"# {title}\n\n{date.today()}, {where}, {versions(packages)}. {protocol}"


def versions(packages: Sequence[str]) -> str:
    return ", ".join(f"{name} {version(name)}" for name in packages if why_absent(name) is None)


def cpu() -> str:
    lines = (line for line in _lines("/proc/cpuinfo") if line.startswith("model name"))
    return next((line.split(":")[1].strip() for line in lines), platform.processor())


def memory_gib() -> float:
    (kib,) = (line.split()[1] for line in _lines("/proc/meminfo") if line.startswith("MemTotal"))
    return int(kib) / 2**20


def slug() -> str:
    """A name for the machine, from its processor and number of cores."""
    words = re.sub(r"\(\w+\)|CPU|Processor|@.*", " ", cpu()) or platform.machine()
    return "-".join([*re.findall(r"[a-z0-9]+", words.lower()), str(os.cpu_count()), "cores"])


@cache
def why_absent(package: str) -> str | None:
    """Why a package cannot be used; None if it can."""
    try:
        version(package)
        importlib.import_module(MODULES.get(package, package))
    except PackageNotFoundError:
        return "not installed"
    except Exception as error:  # whatever a broken installation raises
        return f"does not load: {type(error).__name__}: {next(iter(str(error).strip().splitlines()), '')}"
    return None


def installed(package: str) -> bool:
    return why_absent(package) is None


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines() if Path(path).exists() else []
