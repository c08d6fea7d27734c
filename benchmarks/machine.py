"""The line under each report's title: when, where and with which versions it was measured."""

from __future__ import annotations

import importlib.util
import os
import platform
from collections.abc import Sequence
from datetime import date
from importlib.metadata import version
from pathlib import Path


def heading(title: str, packages: Sequence[str], protocol: str) -> str:
    found = [f"{name} {version(name)}" for name in packages if installed(name.removesuffix("2"))]
    cpu = next((line.split(":")[1].strip() for line in cpu_info() if line.startswith("model name")), "")
    machine = f"{cpu or platform.processor()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    # A report is appended to others: without the empty line, its heading would be a row of the table before.
    return f"\n## {title}\n\n{date.today()}, {machine}, {', '.join(found)}. {protocol}"


def cpu_info() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []


def installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None
