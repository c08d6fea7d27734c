"""The tests marked ``gpu``."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from gpu_device import Note, Plan, Records
from measured import Measured

TITLE = "Tests on the card"
PROTOCOL = "`pytest -m gpu`; without a card, the same tests on the CPU."
ROOT = Path(__file__).resolve().parents[1]
OUTCOME = re.compile(r"(\d+) (passed|failed|skipped|errors?)")


def measure(plan: Plan) -> Records:
    command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "--no-header", "-p", "no:cacheprovider"]
    environment = dict(os.environ)
    if plan.is_dry:
        environment["CVR_TEST_DEVICE"] = "cpu"
    done = subprocess.run([*command, "tests/gpu"], capture_output=True, text=True, cwd=ROOT, env=environment)
    lines = done.stdout.strip().splitlines() or ["nothing"]
    for count, outcome in OUTCOME.findall(lines[-1]):
        yield Measured(outcome, "tests", (float(count),))
    for line in lines:
        if line.startswith(("FAILED", "ERROR", "SKIPPED")):
            yield Note(line.split(" - ")[0], line.partition(" - ")[2] or "see pytest")
    yield Note("pytest", lines[-1].strip("= "))
