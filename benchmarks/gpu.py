"""Measures the package on a GPU in one command of less than 8 minutes, and writes one dated page.

Each section runs in its own process with a time limit. If it fails or is stopped, the page says so and keeps
what it has measured, and the next one runs. The page and its figures are written after each section.
``--dry`` runs every section in tiny form, on any machine.

    python benchmarks/gpu.py [--sections NAME,NAME] [--dry]
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path

import gpu_device
import torch
from gpu_page import compose
from measured import Measured, Section

ROOT = Path(__file__).resolve().parents[1]
WORK = ROOT / "build" / "gpu"
SECTIONS = {
    "tests": ("gpu_tests", 130),
    "models": ("gpu_models", 130),
    "neurons": ("gpu_neurons", 80),
    "labels": ("gpu_labels", 90),
    "training": ("gpu_training", 100),
    "energy": ("gpu_energy", 60),
}
"""Module and time limit in seconds of each section, in the order of the page."""
BUDGET_S = 470
DRY_LIMIT_S = 300


def main(arguments: Sequence[str]) -> None:
    options = parse(arguments)
    plan = gpu_device.dry(WORK / "dry") if options.dry else gpu_device.Plan(WORK)
    if options.section:
        write_section(options.section, plan, options.write)
        return
    if not options.dry and not torch.cuda.is_available():
        sys.exit("gpu: no GPU that PyTorch can use; --dry runs every section on the CPU")
    start, day = time.monotonic(), date.today()
    sections: dict[str, Section] = {}
    for place, name in enumerate(options.sections, 1):
        left = options.budget - (time.monotonic() - start)
        limit = DRY_LIMIT_S if options.dry else min(SECTIONS[name][1], left)
        path = plan.work / "sections" / f"{name}.json"
        path.unlink(missing_ok=True)
        command = [sys.executable, __file__, "--section", name, "--write", str(path)]
        fault = run([*command, *(["--dry"] if options.dry else [])], limit)
        sections[name] = outcome(name, path, fault)
        page = compose(sections, options.output, gpu_device.card(), day)
        said = f"[{place}/{len(options.sections)}] {name}: {fault or 'done'}"
        print(f"{said}, {time.monotonic() - start:.0f} s in all", flush=True)
    print(f"{page}: written")
    if any(FAULT in section.absent for section in sections.values()):
        sys.exit(1)


FAULT = "the section"
"""Name under which the page says that a section failed or was stopped."""


def run(command: Sequence[str], limit: float) -> str | None:
    """Run a section's process; return why it did not finish, None if it did."""
    if limit <= 0:
        return "left out: the time was used up"
    process = subprocess.Popen(command, start_new_session=True)  # so that its own processes end with it
    try:
        status = process.wait(limit)
        return None if status == 0 else f"failed with exit status {status}"
    except subprocess.TimeoutExpired:
        return f"stopped after {limit:.0f} s"
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def outcome(name: str, path: Path, fault: str | None) -> Section:
    """What a section has measured, with its fault if there is one."""
    module = importlib.import_module(SECTIONS[name][0])
    section = Section(module.TITLE, module.PROTOCOL, (), date=str(date.today()))
    if path.is_file():
        section = Section.from_dict(json.loads(path.read_text(encoding="utf-8")))
    return section if fault is None else replace(section, absent={FAULT: fault, **section.absent})


def write_section(name: str, plan: gpu_device.Plan, path: Path) -> None:
    """Measure a section in this process, and write it after each record."""
    module = importlib.import_module(SECTIONS[name][0])
    torch.manual_seed(0)
    rows: list[Measured] = []
    notes: dict[str, str] = {}
    start = time.monotonic()
    for record in module.measure(plan):
        if isinstance(record, Measured):
            rows.append(record)
        else:
            notes[record.what] = record.text
        took = time.monotonic() - start
        section = Section(module.TITLE, module.PROTOCOL, tuple(rows), axis="batch", absent=notes)
        replace(section, date=str(date.today()), wall_s=took, cpu_s=time.process_time()).write(path)


def section_names(text: str) -> list[str]:
    names = text.split(",")
    if unknown := [name for name in names if name not in SECTIONS]:
        raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: choose of {','.join(SECTIONS)}")
    return [name for name in SECTIONS if name in names]


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="gpu.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sections", type=section_names, default=list(SECTIONS), help=",".join(SECTIONS))
    parser.add_argument("--budget", type=float, default=BUDGET_S, help="seconds for all sections")
    parser.add_argument("--dry", action="store_true", help="every section in tiny form, on any machine")
    parser.add_argument("--output", type=Path, help="folder of the page")
    parser.add_argument("--section", choices=SECTIONS, help=argparse.SUPPRESS)
    parser.add_argument("--write", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.output is None:  # a dry run does not measure anything
        options.output = WORK / "dry" if options.dry else ROOT / "docs" / "benchmarks"
    return options


if __name__ == "__main__":
    main(sys.argv[1:])
